"""ImageNet photos in three parts, and pretrained nets for them, of whose weights only a file is there."""

from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from blurnet.data.images import ImageFiles, ImageTensors, Split
from blurnet.data.module import SignData
from blurnet.data.sources.folder import CsvImages
from blurnet.nets.normalize import Normalize
from blurnet.zoo.spec import ModelSpec, Plain
from reproduce._common.photos import PHOTOS, PHOTOS_NET, named_net

MORE_PHOTOS = "imagenet-val"
CLASSES = [str(label) for label in range(1000)]


@dataclass(frozen=True)
class Pretrained:
    """A net of timm that sees (x - 0.5) / 0.5, and where its weights lie in the data's folder."""

    net: str
    weights: str
    net_args: dict[str, Plain] = field(default_factory=dict)

    def load(self, root: Path) -> nn.Module:
        """The net, pixels in, logits out, in evaluation mode."""
        net = named_net(ModelSpec(self.net, CLASSES, net_args=self.net_args), str(root / self.weights))
        return seen_as(net).eval()


NETS = {
    "efficientnet-lite0": Pretrained("timm/tf_efficientnet_lite0", "efficientnet-lite0/efficientnet_lite0.safetensors"),
    "mobilenetv2": Pretrained("timm/mobilenetv2_100", f"{PHOTOS}/{PHOTOS_NET}", {"pad_type": "same"}),
}


def seen_as(net: nn.Module) -> nn.Module:
    """The net behind (x - 0.5) / 0.5, whatever timm says of other weights of its kind."""
    net.normalize = Normalize((0.5,) * 3, (0.5,) * 3)
    return net


@dataclass(eq=False, kw_only=True)
class PartedPhotos(SignData):
    """The photos of both folders by part, see the script's docstring; ``test`` and ``val``: how many each has."""

    root: str | Path
    test: int = 100
    val: int = 100

    @property
    def classes(self) -> tuple[str, ...]:
        """Numbers of ILSVRC 2012, as text."""
        return tuple(CLASSES)

    def files(self, split: Split) -> ImageFiles:
        """The files of a part, in the order of their tables."""
        nips = self._folder(PHOTOS)
        begin = {"test": 0, "val": self.test, "train": self.test + self.val}[split]
        end = {"test": self.test, "val": self.test + self.val, "train": len(nips)}[split]
        paths, labels = nips.paths[begin:end], nips.labels[begin:end]
        if split == "train":
            more = self._folder(MORE_PHOTOS)
            paths, labels = paths + more.paths, labels + more.labels
        return ImageFiles(paths, labels, self.classes, self.image_size, self.fit)

    def load(self, split: Split) -> ImageTensors:
        """Decode a part into memory."""
        return self.files(split).load()

    def _folder(self, name: str) -> ImageFiles:
        table = CsvImages(Path(self.root) / name, num_classes=1000, image_size=self.image_size, fit=self.fit)
        return table.files("all")
