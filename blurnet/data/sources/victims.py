"""The images that shared noise is made for: signs of one class, with the masks a sticker may cover."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from blurnet.data.images import side
from blurnet.data.labels import label_names
from blurnet.data.sources.rp2 import MASKS, STOP, rp2_folder, rp2_mask, victim_images
from blurnet.data.synthetic.dataset import SyntheticSigns
from blurnet.masks import octagon, rp2_stickers


@dataclass(frozen=True)
class Victims:
    """Images under attack.

    Args:
        images: (N, 3, H, W) RGB in [0, 1].
        labels: (N,) int64, their true class.
        masks: where the attack may write, by name, (1, 1, H, W) in {0, 1}.
        classes: names in output order.
        name: how reports call them.
    """

    images: Tensor
    labels: Tensor
    masks: dict[str, Tensor]
    classes: tuple[str, ...]
    name: str

    def numbered_as(self, classes: tuple[str, ...]) -> "Victims":
        """The same with labels as these classes number them, found by name.

        Raises:
            ValueError: a victim's class is not among them.
        """
        if self.classes == classes:
            return self
        names = [self.classes[label] for label in self.labels.tolist()]
        if missing := sorted(set(names) - set(classes)):
            raise ValueError(
                f"the model has no class {', '.join(missing)} of the victims ({self.name}): it has {classes}"
            )
        labels = torch.tensor([classes.index(name) for name in names])
        return Victims(self.images, labels, self.masks, classes, self.name)


def load_victims(text: str, n: int = 40, image_size: int | tuple[int, int] = 32) -> Victims:
    """Victims from their command-line name.

    Args:
        text: ``"rp2:ROOT"``, the 40 stop signs of RP2 (a clone of the authors' repository or its converted folder);
            or ``"synthetic"``, rendered stop signs from the test stream. Both use the authors' 18 outputs.
        n: how many synthetic victims.
        image_size: side in pixels, or (H, W) with both alike, such as a net's ``image_size``; RP2's have 32.

    Raises:
        ValueError: unknown name, a folder missing or superfluous, or a size that there is not; others as the readers
            do.
    """
    name, _, root = text.partition(":")
    if name == "synthetic" and not root:
        return _synthetic(n, side(image_size))
    if name == "rp2" and root:
        if side(image_size) != 32:
            raise ValueError(f"victims {text!r} are 32x32 pixels, the model takes {image_size}; there is synthetic")
        return _rp2(root)
    raise ValueError(f"unknown victims {text!r}; there is synthetic and rp2:ROOT")


def _rp2(root: str | Path) -> Victims:
    folder = rp2_folder(root)
    images = victim_images(folder)
    masks: dict[str, Tensor] = {name: rp2_mask(folder, name) for name in MASKS}
    return Victims(images, torch.full((len(images),), STOP), masks, label_names(18), "rp2")


def _synthetic(n: int, size: int) -> Victims:
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    classes = label_names(18)
    period = len(classes) - 1  # item i shows class i mod 17
    signs = SyntheticSigns("test", size=period * n, image_size=size)
    items = signs.__getitems__([STOP - 1 + period * i for i in range(n)])
    images = torch.stack([image for image, _ in items])
    labels = torch.tensor([label for _, label in items])
    return Victims(images, labels, {"stickers": rp2_stickers(size), "octagon": octagon(size)}, classes, "synthetic")
