"""Images from files: RGB, square, in [0, 1], one at a time or whole batches; nothing here normalises."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

#: How an image becomes square: both axes scaled (signs), or the shorter side scaled and the middle kept (photos).
Fit = Literal["stretch", "crop"]

#: The usual ImageNet preprocessing resizes to 256 pixels and keeps the central 224.
CROP_RATIO = 0.875

#: Half-open pixel box (top, bottom, left, right).
Box = tuple[int, int, int, int]


def read_image(path: Path) -> Tensor:
    """Decode an image file to RGB bytes, uint8 (3, H, W); gray is repeated over the three channels.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a readable image (the message names it).
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such image: {path}")
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):  # 16-bit gray, which Pillow's own conversion would clip to white
                gray = (np.asarray(image).astype(np.int64) // 257).astype(np.uint8)
                return torch.from_numpy(gray).expand(3, -1, -1)
            return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: not a readable image: {error}") from error


def side(size: int | tuple[int, int]) -> int:
    """The side in pixels of square images, from itself or (H, W); ValueError where they are not square."""
    if isinstance(size, int):
        return size
    if len(size) != 2 or size[0] != size[1]:
        raise ValueError(f"data: images are square here, got a size of {size}")
    return size[0]


def square(image: Tensor, size: int, fit: Fit = "stretch") -> Tensor:
    """Resize uint8 (3, H, W) to (3, size, size), antialiased bilinear, rounded to bytes.

    ``fit="stretch"`` scales both axes (signs); ``"crop"`` scales the shorter side to size / 0.875 and keeps
    the centre (photos).
    """
    height, width = image.shape[-2:]
    if fit == "crop":
        scale = size / CROP_RATIO / min(height, width)
        target = (max(size, round(height * scale)), max(size, round(width * scale)))
    else:
        target = (size, size)
    if target != (height, width):
        resized = F.interpolate(image[None].float(), target, mode="bilinear", antialias=True)[0]
        image = resized.round_().clamp_(0, 255).to(torch.uint8)
    top, left = (target[0] - size) // 2, (target[1] - size) // 2
    return image[:, top : top + size, left : left + size]


class ImageTensors(Dataset[tuple[Tensor, int]]):
    """Images held in memory; an item is (float image (3, S, S) in [0, 1], label int).

    A batch is one indexing operation: ``dataset.batch(indices)``, which is also what a ``DataLoader`` uses.

    Args:
        images: (N, 3, S, S), uint8 bytes or float in [0, 1].
        labels: (N,) int64.
        classes: names in output order.
        groups: what each image belongs to, such as its track; an interval resamples whole groups. None: each image
            stands for itself.

    Raises:
        ValueError: lengths differ, a label is out of range, or there is no image.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, classes: Sequence[str], groups: Sequence[str] | None = None
    ) -> None:
        _check_lengths("images", len(images), len(labels), groups)
        if int(labels.min()) < 0 or int(labels.max()) >= len(classes):
            raise ValueError(f"labels run to {int(labels.max())} but there are {len(classes)} classes")
        self.images, self.labels, self.classes = images, labels, tuple(classes)
        self.groups = None if groups is None else tuple(groups)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        images, labels = self.batch([index])
        return images[0], int(labels[0])

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Images (B, 3, S, S) float in [0, 1] and labels (B,), freshly allocated."""
        rows = torch.as_tensor(indices)
        images = self.images.index_select(0, rows)
        if images.dtype == torch.uint8:
            images = images.float().div_(255)
        return images, self.labels.index_select(0, rows)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        return self.batch(indices)

    def tensors(self) -> tuple[Tensor, Tensor]:
        """All images (N, 3, S, S) float in [0, 1] and labels (N,)."""
        return self.batch(range(len(self)))


class ImageFiles(Dataset[tuple[Tensor, int]]):
    """Images read from their files when asked for; an item is (float image (3, S, S) in [0, 1], label int).

    Args:
        paths: the files.
        labels: one class index a file.
        classes: names in output order.
        image_size: S in pixels.
        fit: how a file becomes square, see :func:`square`.
        boxes: cut each image to its half-open box (top, bottom, left, right) first; what leaves the image is ignored.
        groups: as in :class:`ImageTensors`.

    Raises:
        ValueError: lengths differ or there is no file.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        labels: Sequence[int],
        classes: Sequence[str],
        image_size: int,
        fit: Fit = "stretch",
        boxes: Sequence[Box] | None = None,
        groups: Sequence[str] | None = None,
    ) -> None:
        _check_lengths("files", len(paths), len(labels), groups)
        if image_size < 1:
            raise ValueError(f"image_size must be at least 1 pixel, got {image_size}")
        self.paths, self.labels, self.classes = list(paths), list(labels), tuple(classes)
        self.image_size, self.fit, self.boxes = image_size, fit, boxes
        self.groups = None if groups is None else tuple(groups)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Tensor:
        """The square bytes of one file, uint8 (3, S, S)."""
        image = read_image(self.paths[index])
        if self.boxes is not None:
            image = _cut(image, self.boxes[index], self.paths[index])
        return square(image, self.image_size, self.fit)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.read(index).float().div_(255), self.labels[index]

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        images = torch.stack([self.read(i) for i in indices])
        return images.float().div_(255), torch.tensor([self.labels[i] for i in indices])

    def load(self) -> ImageTensors:
        """Decode every file once, as bytes in memory (3 KB for a 32 x 32 image)."""
        images = torch.empty(len(self), 3, self.image_size, self.image_size, dtype=torch.uint8)
        for i in range(len(self)):
            images[i] = self.read(i)
        return ImageTensors(images, torch.tensor(self.labels), self.classes, self.groups)

    def tensors(self) -> tuple[Tensor, Tensor]:
        """All images (N, 3, S, S) float in [0, 1] and labels (N,)."""
        return self.load().tensors()


Items = ImageTensors | ImageFiles


def _check_lengths(what: str, count: int, labels: int, groups: Sequence[str] | None) -> None:
    if count != labels or count == 0:
        raise ValueError(f"{count} {what} and {labels} labels: need as many of each, at least one")
    if groups is not None and len(groups) != count:
        raise ValueError(f"{count} {what} and {len(groups)} groups: need as many of each")


def _cut(image: Tensor, box: Box, path: Path) -> Tensor:
    top, bottom, left, right = box
    height, width = image.shape[-2:]
    top, left, bottom, right = max(top, 0), max(left, 0), min(bottom, height), min(right, width)
    if top >= bottom or left >= right:
        raise ValueError(f"{path}: the box {box} holds no pixel of the {height}x{width} image")
    return image[:, top:bottom, left:right]
