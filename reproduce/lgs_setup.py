"""What the scripts of LGS's paper share: photos with a net, the paper's defenses, and numbers side by side.

The photos are the 500 of the NIPS 2017 development set with a MobileNetV2 (a folder ``imagenet-nips2017`` with
``images/``, ``labels.csv`` and ``mobilenetv2_100_same.safetensors``), or any folder with one subfolder a class, such as
the ImageNet validation set, with any net of torchvision or timm. The net sees the photos at ``--image-size`` as they
are: 299 pixels give the paper's patches (42, 52, 60 and 95 pixels), blocks and windows their own proportions.
"""

import argparse
import hashlib
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torchvision
from blurnet.evaluation.pool import Pool
from torch import Tensor, nn

from blurnet.attacks.patch.lavan import LaVAN
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.data.images import ImageFiles
from blurnet.data.sources.folder import CsvImages, FolderImages
from blurnet.files import read_safetensors
from blurnet.masks import Place
from blurnet.nets.normalize import Normalize
from blurnet.nets.vision import timm_net
from blurnet.rates import Rate
from blurnet.transforms.base import defend
from blurnet.zoo.build import build_net, make_transforms
from blurnet.zoo.parse import parse_defenses
from blurnet.zoo.spec import ModelSpec

PHOTOS = "imagenet-nips2017"
PHOTOS_NET = "mobilenetv2_100_same.safetensors"

#: Patch sizes of Table 1 as shares of the image; at 299 pixels their sides are the paper's 42, 52 and 60.
AREAS = (0.02, 0.03, 0.04)


class Defense(NamedTuple):
    """A row of the paper's tables: what it is called there, as :func:`~blurnet.zoo.parse.parse_defenses` reads it."""

    name: str
    text: str
    accuracy: tuple[float, float, float, float]  #: published in Table 1, percent: clean, and with 2, 3 and 4 % patches


#: Table 1 of the paper, Inception v3 on 50,000 photos.
DEFENSES: tuple[Defense, ...] = (
    Defense("none", "", (75.61, 11.00, 2.79, 0.78)),
    Defense("LGS, lambda 2.3", "lgs:smoothing=2.3", (71.05, 70.90, 69.84, 69.37)),
    Defense("LGS, lambda 2.1", "lgs:smoothing=2.1", (71.50, 70.80, 69.54, 68.56)),
    Defense("LGS, lambda 1.9", "lgs:smoothing=1.9", (71.84, 70.40, 68.84, 66.98)),
    Defense("LGS, lambda 1.7", "lgs:smoothing=1.7", (72.30, 69.55, 67.32, 63.38)),
    Defense("LGS, lambda 1.5", "lgs:smoothing=1.5", (72.72, 67.68, 64.13, 55.67)),
    Defense("digital watermark, blind", "digital_watermark", (52.77, 67.70, 66.19, 64.57)),
    Defense("median, window 3", "median:size=3", (70.59, 63.90, 62.15, 59.81)),
    Defense("Gaussian, window 5", "gaussian:window=5", (61.75, 59.52, 57.68, 55.29)),
    Defense("bilateral, window 5", "bilateral:window=5", (65.70, 61.53, 58.70, 55.59)),
    Defense("JPEG, quality 80", "jpeg:quality=80", (74.35, 18.14, 6.23, 2.06)),
    Defense("JPEG, quality 60", "jpeg:quality=60", (72.71, 25.69, 11.86, 4.85)),
    Defense("JPEG, quality 40", "jpeg:quality=40", (71.20, 37.10, 23.26, 12.73)),
    Defense("JPEG, quality 30", "jpeg:quality=30", (70.04, 45.00, 33.72, 22.04)),
    Defense("JPEG, quality 20", "jpeg:quality=20", (67.51, 52.84, 46.25, 37.19)),
    Defense("JPEG, quality 10", "jpeg:quality=10", (60.25, 53.10, 48.73, 43.59)),
    Defense("TV minimization, weight 10", "total_variation_min:weight=10", (70.21, 14.48, 4.64, 1.73)),
    Defense("TV minimization, weight 20", "total_variation_min:weight=20", (72.85, 13.24, 3.78, 1.17)),
    Defense("TV minimization, weight 30", "total_variation_min:weight=30", (73.85, 12.79, 3.53, 1.04)),
    Defense("bit depth 1", "bit_depth:bits=1", (39.85, 25.93, 15.14, 9.73)),
    Defense("bit depth 2", "bit_depth:bits=2", (64.61, 16.32, 6.15, 2.68)),
    Defense("bit depth 3", "bit_depth:bits=3", (72.83, 13.40, 3.89, 1.25)),
)

#: The settings that the paper compares in its Tables 2 and 3.
COMPARED = (
    "none",
    "LGS, lambda 2.3",
    "digital watermark, blind",
    "median, window 3",
    "JPEG, quality 30",
    "TV minimization, weight 10",
    "bit depth 3",
)


def choose(rows: Sequence[Defense], names: Sequence[str] | None) -> list[Defense]:
    """The rows whose names begin with any of ``names``, in the table's order; all of them for None.

    Raises:
        ValueError: a name that no row begins with (lists the rows).
    """
    for name in names or ():
        if not any(row.name.startswith(name) for row in rows):
            raise ValueError(f"no row begins with {name!r}; there are: {'; '.join(row.name for row in rows)}")
    return [row for row in rows if names is None or row.name.startswith(tuple(names))]


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

    def defended(self, text: str) -> nn.Module:
        """The net behind the defenses that a text names; the net itself for none."""
        transforms = make_transforms(parse_defenses(text))
        return defend(self.net, *transforms).eval().to(self.device) if transforms else self.net


def setup_parser(
    doc: str | None, *, limit: int, batch: int = 16, out: str = "", json: bool = True
) -> argparse.ArgumentParser:
    """A parser with the arguments that all scripts of this paper take.

    Args:
        doc: what ``--help`` says.
        limit: photos by default.
        batch: images side by side by default.
        out: default folder of ``--out``; "" leaves the argument out.
        json: whether there is a ``--json``.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data-root", type=Path, required=True, help=f"{PHOTOS}/, a folder above it, or one subfolder a class"
    )
    parser.add_argument(
        "--model", help=f'a net such as "torchvision/resnet50"; by default the one that comes with {PHOTOS}'
    )
    parser.add_argument("--weights", help='of --model: a name such as "DEFAULT", or a .safetensors file')
    parser.add_argument("--image-size", type=int, default=299, help="side of the photos in pixels (default: 299)")
    parser.add_argument("--limit", type=int, default=limit, help=f"so many photos at most (default: {limit})")
    parser.add_argument("--batch", type=int, default=batch, help=f"photos side by side (default: {batch})")
    parser.add_argument("--seed", type=int, default=0, help="of places, targets and starts (default: 0)")
    parser.add_argument("--device", default="cpu", help='"cpu" or "cuda" (default: cpu)')
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's own choice)")
    if out:
        parser.add_argument(
            "--out", type=Path, default=Path(out), help=f"folder for what is made on the way (default: {out})"
        )
    if json:
        parser.add_argument("--json", type=Path, help="write the rows here")
    return parser


def attack_arguments(parser: argparse.ArgumentParser, steps: int) -> None:
    """Add what :func:`border_attack` reads, with this number of steps by default."""
    parser.add_argument(
        "--attack",
        choices=("adam", "lavan"),
        default="adam",
        help="how the noise is driven to its target: Adam on the margin, for all steps (default), "
        "or LaVAN's own sign steps until 99 %% confidence",
    )
    parser.add_argument("--steps", type=int, default=steps, help=f"of it (default: {steps}; the paper: 1000)")
    parser.add_argument("--lr", type=float, default=0.05, help="their size in pixel units (default: 0.05)")


def border_attack(arguments: argparse.Namespace, place: Place) -> LaVAN | PatchPGD:
    """The paper's attack: a square of noise at a place on each photo's border, driven to a random target.

    Either LaVAN with its sign steps, which end at 99 % confidence, or Adam on the margin of the same target, which
    takes all steps and keeps, of the pictures that miss their target, one that shows any other wrong class.
    """
    if arguments.attack == "lavan":
        return LaVAN("random", place, arguments.steps, arguments.lr, seed=arguments.seed)
    return PatchPGD(
        place, "random", steps=arguments.steps, optimizer="adam", lr=arguments.lr, stop=False, seed=arguments.seed
    )


def load_setup(arguments: argparse.Namespace) -> Setup:
    """Photos and net as the arguments of :func:`setup_parser` have them.

    Raises:
        FileNotFoundError, NotADirectoryError: nothing there.
        ValueError: a folder of photos without ``--model``, an unknown net, or weights that do not fit.
    """
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    root = arguments.data_root / PHOTOS if (arguments.data_root / PHOTOS).is_dir() else arguments.data_root
    photos = _photos(root, arguments.image_size)
    pool = Pool(photos, photos.classes, "photos", limit=arguments.limit, shard=arguments.batch)
    if arguments.model is None:
        if not (root / PHOTOS_NET).is_file():
            raise ValueError(f"{root.name} holds no {PHOTOS_NET}: name a net, such as --model torchvision/resnet50")
        net = _photos_net(root / PHOTOS_NET)
    else:
        net = build_net(ModelSpec(arguments.model, list(photos.classes)), arguments.weights)
    # Channels last: a third less time for these nets on a CPU.
    net = net.requires_grad_(False).eval().to(arguments.device, memory_format=torch.channels_last)
    names = imagenet_classes() if (root / "labels.csv").is_file() else photos.classes
    return Setup(pool, net, names, torch.device(arguments.device), _fingerprint(photos, pool.indices, net))


def _photos(root: Path, size: int) -> ImageFiles:
    """The photos of the NIPS set as they are, of any other folder cut to their middle square."""
    if (root / "labels.csv").is_file():
        return CsvImages(root, num_classes=1000, image_size=size, fit="stretch").files("all")
    return FolderImages(root, image_size=size).files("val" if (root / "train").is_dir() else "all")


def _photos_net(weights: Path) -> nn.Module:
    """The MobileNetV2 of these weights: TensorFlow's padding and its (x - 0.5) / 0.5."""
    net = timm_net("mobilenetv2_100", pad_type="same")[1]
    counters = {key: value for key, value in net.state_dict().items() if key.endswith("num_batches_tracked")}
    net.load_state_dict({**counters, **read_safetensors(weights)}, strict=True)
    return nn.Sequential(Normalize((0.5,) * 3, (0.5,) * 3), net)


def imagenet_classes() -> tuple[str, ...]:
    """The thousand names of ILSVRC 2012 in their order."""
    return tuple(torchvision.models.get_model_weights("mobilenet_v2").DEFAULT.meta["categories"])


def _fingerprint(photos: ImageFiles, indices: list[int], net: nn.Module) -> str:
    """Changes with the photos, their order and size, and the weights."""
    digest = hashlib.sha256(f"{photos.image_size} {photos.fit}".encode())
    for i in indices:
        path = photos.paths[i]
        digest.update(f"{path.parent.name}/{path.name} {path.stat().st_size} {photos.labels[i]}\n".encode())
    for key, value in net.state_dict().items():
        digest.update(key.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def logits(net: nn.Module, images: Tensor) -> Tensor:
    """Logits (N, classes) without a gradient."""
    with torch.no_grad():
        result: Tensor = net(images)
    return result


def answers(net: nn.Module, images: Tensor) -> Tensor:
    """Predicted classes (N,)."""
    return logits(net, images).argmax(dim=1)


def marks(right: Tensor) -> str:
    """A yes or no for each photo as text of ones and zeros, which JSON keeps short."""
    return "".join("1" if value else "0" for value in right.tolist())


def rate(text: str) -> Rate:
    """The share of ones among marks."""
    return Rate.of(text.count("1"), len(text))


def rate_among(text: str, kept: str) -> Rate | None:
    """The share of ones in ``text`` among the photos that ``kept`` marks; None where it marks none."""
    chosen = "".join(value for value, keep in zip(text, kept, strict=True) if keep == "1")
    return rate(chosen) if chosen else None


def shown(value: Rate | None) -> str:
    """A rate in percent with its interval, short enough for wide tables; a dash for none."""
    if value is None:
        return "-"
    numbers = value.as_dict()
    return f"{numbers['value']:.1f} [{numbers['low']:.0f}, {numbers['high']:.0f}]"


def command(module: str) -> str:
    """The command line that runs now, without anybody's folders and without where the results go."""
    words = [part for word in sys.argv[1:] for part in (word.split("=", 1) if word.startswith("--") else [word])]
    kept = ["python", "-m", f"reproduce.{module}"]
    for before, word in zip(["", *words], words, strict=False):
        if {"--json", "--out"} & {before, word}:
            continue
        file = before == "--weights" and Path(word).suffix != ""
        kept.append("DIR" if before in ("--data-root", "--root") else "FILE" if file else shlex.quote(word))
    return " ".join(kept)


def settings(setup: Setup, arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    """What decides a run's numbers, for resuming and for the record: the photos, the net and arguments by name."""
    common = ("model", "image_size", "seed", "batch")
    chosen = {name: getattr(arguments, name) for name in (*common, *names)}
    return {"photos": len(setup.pool), "fingerprint": setup.fingerprint, **chosen}
