"""Where a localized attack may write: masks of zeros and ones, and the boxes and places they come from.

One mask for all images has shape (1, 1, H, W), one of its own for each has (N, 1, H, W). Boxes are half-open
(top, bottom, left, right) in pixels.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from blurnet.bounds import Bounds
from blurnet.checks import check_images, check_mask
from blurnet.strict import check_fields

Box = tuple[int, int, int, int]

#: How much of an image a patch covers, a setting.
Area = Annotated[float, Bounds("a share of the image in (0, 1]", 0, 1, open=True)]

#: The four stickers of RP2's LISA attack on a 32 x 32 sign, as half-open (top, bottom, left, right) pixels.
#: Source: evtimovi/robust_physical_perturbations, masks/mask_l1loss_uniform_rectangles.png (30 px, 2.93 %).
RP2_STICKERS: tuple[Box, ...] = ((15, 19, 8, 10), (18, 20, 20, 23), (22, 25, 9, 13), (24, 26, 18, 20))


def rectangles(size: tuple[int, int], boxes: Sequence[Box]) -> Tensor:
    """Ones inside every box.

    Args:
        size: (H, W) in pixels.
        boxes: half-open (top, bottom, left, right) in pixels.

    Returns:
        Mask (1, 1, H, W).

    Raises:
        ValueError: a box that is empty or leaves the image.
    """
    mask = torch.zeros(1, 1, *size)
    for top, bottom, left, right in boxes:
        if not (0 <= top < bottom <= size[0] and 0 <= left < right <= size[1]):
            raise ValueError(f"box {(top, bottom, left, right)} is empty or leaves the {size[0]}x{size[1]} image")
        mask[..., top:bottom, left:right] = 1
    return mask


def rp2_stickers(size: int = 32) -> Tensor:
    """RP2's stickers, scaled from 32 x 32 to ``size`` x ``size`` pixels; (1, 1, size, size)."""
    scale = size / 32
    boxes = [tuple(round(edge * scale) for edge in box) for box in RP2_STICKERS]
    return rectangles((size, size), [(t, max(b, t + 1), le, max(r, le + 1)) for t, b, le, r in boxes])


def octagon(size: int = 32) -> Tensor:
    """The regular octagon inscribed in the image (82.8 % of its area): a whole stop sign; (1, 1, size, size)."""
    t = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(t.abs(), t.abs(), indexing="ij")
    return (x + y <= math.sqrt(2)).float()[None, None]


def mask_from_image(path: str | os.PathLike[str], threshold: float = 0.5) -> Tensor:
    """Mask from an image file: pixels whose mean over channels is above ``threshold`` in [0, 1]; (1, 1, H, W).

    Raises:
        ValueError: no pixel is above the threshold.
    """
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).movedim(-1, 0).float() / 255
    mask = (pixels.mean(0, keepdim=True) > threshold).float()[None]
    if not bool(mask.any()):
        raise ValueError(f"{path}: no pixel is brighter than {threshold}; the mask would be empty")
    return mask


def patch_side(size: tuple[int, int], area: float) -> int:
    """Side in pixels of the square that covers ``area`` (a share in (0, 1]) of an H x W image; at least 1.

    Raises:
        ValueError: an area outside (0, 1], or a square that does not fit the image's shorter side.
    """
    if not 0 < area <= 1:
        raise ValueError(f"area: expected a share of the image in (0, 1], got {area!r}")
    side = max(1, round(math.sqrt(area * size[0] * size[1])))
    if side > min(size):
        raise ValueError(f"area {area:g}: a square of {side} pixels does not fit {size[0]}x{size[1]} pixels")
    return side


def square(size: tuple[int, int], area: float) -> Tensor:
    """A square of ``area`` share in the middle of an H x W image, (1, 1, H, W); see :func:`patch_side`."""
    side = patch_side(size, area)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    return rectangles(size, [(top, top + side, left, left + side)])


def circle(size: tuple[int, int], area: float) -> Tensor:
    """A disc of ``area`` share in the middle of an H x W image, (1, 1, H, W): pixels whose centre it covers.

    Raises:
        ValueError: an area outside (0, 1], or a disc that does not fit the image's shorter side.
    """
    if not 0 < area <= 1:
        raise ValueError(f"area: expected a share of the image in (0, 1], got {area!r}")
    radius = math.sqrt(area * size[0] * size[1] / math.pi)
    if 2 * radius > min(size):
        raise ValueError(f"area {area:g}: a disc {2 * radius:.1f} pixels wide does not fit {size[0]}x{size[1]} pixels")
    y, x = ((torch.arange(n) + 0.5 - n / 2).square() for n in size)
    # The disc of a few pixels may miss every centre of an even grid: its nearest pixels stay.
    distance = y[:, None] + x
    return (distance <= max(radius**2, float(distance.min()))).float()[None, None]


def box_masks(size: tuple[int, int], boxes: Tensor) -> Tensor:
    """Ones inside each box.

    Args:
        size: (H, W) in pixels.
        boxes: (N, 4) integers, half-open (top, bottom, left, right) in pixels, each inside the image.

    Returns:
        Masks (N, 1, H, W) on the boxes' device.

    Raises:
        ValueError: another shape, or a box that is empty or leaves the image.
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.is_floating_point():
        raise ValueError(f"boxes: expected integers of shape (N, 4), got {boxes.dtype} {tuple(boxes.shape)}")
    top, bottom, left, right = boxes[:, :, None].unbind(1)
    good = (top >= 0) & (top < bottom) & (bottom <= size[0]) & (left >= 0) & (left < right) & (right <= size[1])
    if not bool(good.all()):
        first = tuple(boxes[~good[:, 0]][0].tolist())
        raise ValueError(f"box {first} is empty or leaves the {size[0]}x{size[1]} image")
    y, x = (torch.arange(n, device=boxes.device) for n in size)
    rows, columns = (y >= top) & (y < bottom), (x >= left) & (x < right)
    return (rows[:, :, None] & columns[:, None, :]).float()[:, None]


def mask_boxes(mask: Tensor) -> Tensor:
    """The smallest box around each mask's pixels, (N, 4) int64; -1 where no pixel is set.

    mask: (N, 1, H, W) or (1, 1, H, W) in {0, 1}.
    """
    on = mask.to(torch.bool).flatten(0, 1)
    edges = [edge for axis in (2, 1) for edge in _ends(on.any(dim=axis))]
    boxes = torch.stack(edges, dim=1)
    return torch.where(on.flatten(1).any(dim=1)[:, None], boxes, -1)


def _ends(line: Tensor) -> tuple[Tensor, Tensor]:
    """First index set and last plus one, of each row of (N, L)."""
    first = line.byte().argmax(dim=1)
    return first, line.shape[1] - line.flip(1).byte().argmax(dim=1)


def grid_boxes(size: tuple[int, int], patch: int | tuple[int, int], stride: int = 1) -> Tensor:
    """Every place of a patch on a grid, the last row and column of places always among them.

    Args:
        size: (H, W) in pixels.
        patch: its side, or (height, width), in pixels.
        stride: pixels between neighbouring places; the last step may be shorter.

    Returns:
        Boxes (P, 4) int64, row by row.

    Raises:
        ValueError: a stride below 1 or a patch that does not fit.
    """
    height, width = (patch, patch) if isinstance(patch, int) else patch
    if not (1 <= height <= size[0] and 1 <= width <= size[1]):
        raise ValueError(f"patch: {height}x{width} pixels do not fit {size[0]}x{size[1]} pixels")
    if stride < 1:
        raise ValueError(f"stride: expected at least 1 pixel, got {stride!r}")
    tops, lefts = _places(size[0] - height, stride), _places(size[1] - width, stride)
    top, left = (t.flatten() for t in torch.meshgrid(tops, lefts, indexing="ij"))
    return torch.stack([top, top + height, left, left + width], dim=1)


def _places(last: int, stride: int) -> Tensor:
    """0, stride, 2 stride, ... and ``last``."""
    places = torch.arange(0, last + 1, stride)
    return places if last % stride == 0 else torch.cat([places, torch.tensor([last])])


Where = Literal["border", "anywhere", "center"]


@dataclass(frozen=True)
class Place:
    """A square patch for each image, at a place of its own that follows from the image's pixels and the seed.

    An image has the same place in every batch, order, precision and device, and a new one for another seed.

    Args:
        area: share of the image, in (0, 1]; see :func:`patch_side`.
        where: "border", all places at which the square touches an edge of the image, equally likely, as the
            evaluation of LGS has it; "anywhere", all places; "center", the one in the middle.
        seed: of the draw.

    Raises:
        ValueError: bad settings.

    Source: Naseer et al. 2019, section 5.1, for "border".
    """

    area: Area = 0.05
    where: Where = "border"
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)

    def boxes(self, images: Tensor) -> Tensor:
        """The box of each image's patch, (N, 4) int64; images (N, C, H, W) in [0, 1]."""
        check_images(images, channels=None)
        height, width = images.shape[-2:]
        side = patch_side((height, width), self.area)
        boxes = grid_boxes((height, width), side)
        if self.where == "center":
            boxes = boxes[[(height - side) // 2 * (width - side + 1) + (width - side) // 2]]
        elif self.where == "border":
            ends = (0, height, 0, width)
            boxes = boxes[(boxes == torch.tensor(ends)).any(dim=1)]
        # A seed of its own: an attack that draws classes by the same number stays independent of the place.
        drawn = content_hash(images, self.seed + 104_729) % len(boxes)
        return boxes.to(images.device)[drawn]

    def masks(self, images: Tensor) -> Tensor:
        """The mask of each image's patch, (N, 1, H, W); images (N, C, H, W) in [0, 1]."""
        return box_masks((images.shape[-2], images.shape[-1]), self.boxes(images))


def masks_of(mask: Tensor | Place, images: Tensor, name: str = "mask") -> Tensor:
    """A mask given as a tensor (see :func:`~blurnet.checks.check_mask`) or a place, for images; (N, 1, H, W) bool.

    Raises:
        TypeError, ValueError: neither, or a mask of another shape; the message begins with ``name``.
    """
    if isinstance(mask, Place):
        mask = mask.masks(images)
    check_mask(mask, images, name)
    own = mask.to(images.device, torch.bool, copy=True).view(-1, 1, *images.shape[-2:])
    return own.expand(len(images), -1, -1, -1)


def content_hash(images: Tensor, seed: int) -> Tensor:
    """A number from 0 to 2^31 - 1 for each image, from its 8-bit pixels and the seed, (N,) int64.

    Multilinear hashing: random odd weights times pixels, summed modulo 2^64, the upper bits kept. Integer sums are
    exact in any order, so that batch and device do not matter.

    Source: Dietzfelbinger 1996; Lemire and Kaser 2014, Eq. 1.
    """
    pixels = (images.detach().flatten(1) * 255).round().to(torch.int64)
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randint(-(2**62), 2**62, (pixels.shape[1] + 1,), generator=generator).to(images.device) * 2 + 1
    return ((pixels * weights[1:]).sum(dim=1) + weights[0]) >> 33 & (2**31 - 1)
