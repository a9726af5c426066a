"""Photos with a net, for the scripts of LGS's paper and of Deep Protection.

The photos are the 500 of the NIPS 2017 development set with a MobileNetV2 (a folder ``imagenet-nips2017`` with
``images/``, ``labels.csv`` and ``mobilenetv2_100_same.safetensors``), or any folder with one subfolder a class, such as
the ImageNet validation set, with any net of torchvision or timm. The net sees the photos at ``--image-size`` as they
are: 299 pixels give the paper's patches (42, 52, 60 and 95 pixels), blocks and windows their own proportions.
"""

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from blurnet.data.images import ImageFiles
from blurnet.data.sources.folder import CsvImages, FolderImages
from blurnet.evaluation.images import Pool
from blurnet.files import fill, read_safetensors
from blurnet.nets.normalize import Normalize
from blurnet.nets.vision import timm_net
from blurnet.transforms.base import defend
from blurnet.zoo.build import build_net, make_transforms
from blurnet.zoo.parse import parse_defenses
from blurnet.zoo.spec import ModelSpec
from reproduce._common.arguments import add_json, add_machine, add_out, new_parser, set_threads

PHOTOS = "imagenet-nips2017"
PHOTOS_NET = "mobilenetv2_100_same.safetensors"


@dataclass(frozen=True, eq=False)
class Setup:
    """Photos, read a batch at a time, and the net that is attacked, frozen and in evaluation mode."""

    pool: Pool
    net: nn.Module
    classes: tuple[str, ...]  #: as a person calls them
    device: torch.device
    fingerprint: str  #: of the photos and the weights

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Images (B, 3, S, S) and labels (B,) of one batch, on the device."""
        images, labels = self.pool.read(self.pool.places(number))
        return images.to(self.device), labels.to(self.device)

    def everything(self) -> tuple[Tensor, Tensor]:
        """All images and labels at once, on the device."""
        batches = [self.batch(number) for number in range(self.pool.shards)]
        images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        return images, labels

    def defended(self, text: str) -> nn.Module:
        """The net behind the defenses that a text names; the net itself for none."""
        transforms = make_transforms(parse_defenses(text))
        return defend(self.net, *transforms).eval().to(self.device) if transforms else self.net


def setup_parser(
    doc: str | None, *, limit: int, batch: int = 16, image_size: int = 299, out: str = "", json: bool = True
) -> argparse.ArgumentParser:
    """A parser with the arguments that all scripts on photos take.

    Args:
        doc: what ``--help`` says.
        limit: photos by default.
        batch: images side by side by default.
        image_size: side of the photos by default.
        out: default folder of ``--out``; "" leaves the argument out.
        json: whether there is a ``--json``.
    """
    parser = new_parser(doc)
    parser.add_argument(
        "--data-root", type=Path, required=True, help=f"{PHOTOS}/, a folder above it, or one subfolder a class"
    )
    parser.add_argument(
        "--model", help=f'a net such as "torchvision/resnet50"; by default the one that comes with {PHOTOS}'
    )
    parser.add_argument(
        "--weights", help='of --model: a name such as "DEFAULT", or a .safetensors file, also the library\'s own'
    )
    parser.add_argument(
        "--image-size", type=int, default=image_size, help=f"side of the photos in pixels (default: {image_size})"
    )
    parser.add_argument("--limit", type=int, default=limit, help=f"so many photos at most (default: {limit})")
    parser.add_argument("--batch", type=int, default=batch, help=f"photos side by side (default: {batch})")
    parser.add_argument("--seed", type=int, default=0, help="of places, targets and starts (default: 0)")
    add_machine(parser)
    if out:
        add_out(parser, out, "folder for what is made on the way")
    if json:
        add_json(parser)
    return parser


def load_setup(arguments: argparse.Namespace) -> Setup:
    """Photos and net as the arguments of :func:`setup_parser` have them.

    Raises:
        FileNotFoundError, NotADirectoryError: nothing there.
        ValueError: a folder of photos without ``--model``, an unknown net, or weights that do not fit.
    """
    set_threads(arguments)
    root = arguments.data_root / PHOTOS if (arguments.data_root / PHOTOS).is_dir() else arguments.data_root
    photos = _photos(root, arguments.image_size)
    pool = Pool(photos, photos.classes, "photos", limit=arguments.limit, shard=arguments.batch)
    if arguments.model is None:
        if not (root / PHOTOS_NET).is_file():
            raise ValueError(f"{root.name} holds no {PHOTOS_NET}: name a net, such as --model torchvision/resnet50")
        net = _photos_net(root / PHOTOS_NET)
    else:
        net = named_net(ModelSpec(arguments.model, list(photos.classes)), arguments.weights)
    # Channels last: a third less time for these nets on a CPU.
    net = net.requires_grad_(False).eval().to(arguments.device, memory_format=torch.channels_last)
    names = imagenet_classes() if (root / "labels.csv").is_file() else photos.classes
    return Setup(pool, net, names, torch.device(arguments.device), fingerprint(photos, pool.indices, net))


def _photos(root: Path, size: int) -> ImageFiles:
    """The photos of the NIPS set as they are, of any other folder cut to their middle square."""
    if (root / "labels.csv").is_file():
        return CsvImages(root, num_classes=1000, image_size=size, fit="stretch").files("all")
    return FolderImages(root, image_size=size).files("val" if (root / "train").is_dir() else "all")


def _photos_net(weights: Path) -> nn.Module:
    """The MobileNetV2 of these weights: TensorFlow's padding and its (x - 0.5) / 0.5."""
    net = timm_net("mobilenetv2_100", pad_type="same")[1]
    return nn.Sequential(Normalize((0.5,) * 3, (0.5,) * 3), _filled(net, weights))


def named_net(spec: ModelSpec, weights: str | None) -> nn.Module:
    """A net by name; weights of a file may be those of torchvision's or timm's net, which lies behind a Normalize."""
    if weights is None or not Path(weights).suffix:
        return build_net(spec, weights)
    net = build_net(spec)
    inside = "/" in spec.net and not any(key.startswith("net.") for key in read_safetensors(weights))
    _filled(net.get_submodule("net") if inside else net, weights)
    return net


def _filled(net: nn.Module, weights: str | Path) -> nn.Module:
    """The net with the weights of a file, which may lack BatchNorm's counters: they matter in training only."""
    counters = {key: value for key, value in net.state_dict().items() if key.endswith("num_batches_tracked")}
    return fill(net, {**counters, **read_safetensors(weights)}, f"{weights} does not fit {type(net).__name__}")


def imagenet_classes() -> tuple[str, ...]:
    """The thousand names of ILSVRC 2012 in their order."""
    return tuple(torchvision.models.get_model_weights("mobilenet_v2").DEFAULT.meta["categories"])


def fingerprint(photos: ImageFiles, indices: list[int], net: nn.Module) -> str:
    """Changes with the photos, their order and size, and the weights."""
    digest = hashlib.sha256(f"{photos.image_size} {photos.fit}".encode())
    for i in indices:
        path = photos.paths[i]
        digest.update(f"{path.parent.name}/{path.name} {path.stat().st_size} {photos.labels[i]}\n".encode())
    for key, value in net.state_dict().items():
        digest.update(key.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def settings(setup: Setup, arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    """What decides a run's numbers, for resuming and for the record: the photos, the net and arguments by name."""
    common = ("model", "image_size", "seed", "batch")
    chosen = {name: getattr(arguments, name) for name in (*common, *names)}
    return {"photos": len(setup.pool), "fingerprint": setup.fingerprint, **chosen}
