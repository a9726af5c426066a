"""Sets of masks of which, wherever the patch lies, at least one hides all of it."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from blurnet.masks import RP2_STICKERS, Box, box_masks

Size = tuple[int, int]


@dataclass(frozen=True, repr=False)
class MaskSet:
    """Masks for images of one size, and the threat that they answer.

    Args:
        size: (H, W) of the images in pixels.
        threat: what is always hidden by one of the masks, in words.
        masks: of each mask its rectangles, half-open (top, bottom, left, right) in pixels.

    Raises:
        ValueError: no masks, or one that leaves the image or hides all of it.

    Source: Xiang et al. 2022, "PatchCleanser", for one patch; several rectangles a mask, for several patches, are ours.
    """

    size: Size
    threat: str
    masks: tuple[tuple[Box, ...], ...]

    def __post_init__(self) -> None:
        if not self.masks:
            raise ValueError("MaskSet: expected at least one mask, got none")
        if bool(self.hidden().flatten(1).all(1).any()):
            raise ValueError(f"MaskSet: a mask hides the whole image of {_text(self.size)} pixels; {self.threat}")

    def __len__(self) -> int:
        return len(self.masks)

    def __repr__(self) -> str:
        return f"MaskSet({len(self)} masks, {self.threat})"

    @classmethod
    def of(cls, image_size: int | Size, patch: int | Size, masks: int) -> "MaskSet":
        """Masks for one patch anywhere.

        With n pixels along an axis and p of the patch, k masks stand s = ceil((n - p + 1) / k) pixels apart and are
        p + s - 1 wide; fewer than k where fewer will do. Each smaller patch is hidden as well.

        Args:
            image_size: (H, W) in pixels, or one number.
            patch: (height, width) in pixels, or one number.
            masks: k along each axis, from 2; a patch as long as the image takes one along that axis.

        Raises:
            ValueError: a patch that does not fit, or fills the image; one mask along an axis, which would hide
                everything.

        Source: Xiang et al. 2022, "PatchCleanser" (the mask set as their code makes it).
        """
        size, (height, width) = _pair(image_size, "image_size"), _pair(patch, "patch")
        _check_fits(size, [(0, height, 0, width)], masks)
        threat = f"one {_text((height, width))}-pixel patch ({_share(height * width, size)}), anywhere"
        rows, columns = _spans(size[0], height, masks), _spans(size[1], width, masks)
        return cls(size, threat, tuple(((*r, *c),) for r in rows for c in columns))

    @classmethod
    def rectangles(cls, image_size: int | Size, area: int, masks: int) -> "MaskSet":
        """Masks for one rectangle of at most ``area`` pixels, of any height and width, anywhere.

        Heights are doubled from step to step; each step's masks hide the widest rectangle of its lowest height.

        Raises:
            ValueError: an area below 1, or so large that a mask would hide everything.
        """
        size = _pair(image_size, "image_size")
        if not 1 <= area < size[0] * size[1]:
            raise ValueError(f"area: expected from 1 to below {size[0] * size[1]} pixels, got {area!r}")
        made: dict[tuple[Box, ...], None] = {}
        low = 1
        while low <= min(size[0], area):
            shape = min(2 * low - 1, size[0], area), min(area // low, size[1])
            made |= dict.fromkeys(cls.of(size, shape, masks).masks)
            low *= 2
        threat = f"one rectangle of at most {area} pixels ({_share(area, size)}) and any shape, anywhere"
        return cls(size, threat, tuple(mask for mask in made if not any(_inside(mask, other) for other in made)))

    @classmethod
    def together(cls, *sets: "MaskSet") -> "MaskSet":
        """Masks for several threats at once: for each choice of a mask from every set, all of them.

        The same set twice is two patches; each pair of its masks is then taken once.

        Raises:
            ValueError: fewer than two sets, of different image sizes, or masks that hide everything.
        """
        if len(sets) < 2 or len({one.size for one in sets}) > 1:
            sizes = ", ".join(_text(one.size) for one in sets)
            raise ValueError(
                f"MaskSet.together: expected two sets or more for images of one size, got {sizes or 'none'}"
            )
        choices = itertools.product(*(one.masks for one in sets))
        made = {frozenset(box for mask in choice for box in mask) for choice in choices}
        whole = [tuple(sorted(mask)) for mask in made if not any(mask < other for other in made)]
        return cls(sets[0].size, " and ".join(one.threat for one in sets), tuple(sorted(whole)))

    @classmethod
    def moved(
        cls, image_size: int | Size, boxes: Sequence[Box], masks: int, *, reach: int | None = None, name: str = "boxes"
    ) -> "MaskSet":
        """Masks for boxes that keep their places to each other and move together, as stickers on a sign.

        Args:
            image_size: (H, W) in pixels, or one number.
            boxes: half-open (top, bottom, left, right), where they are before they move.
            masks: k along each axis, as in :meth:`of`.
            reach: how far they may move from there, in pixels along each axis; 0 holds them, None lets them go
                anywhere in the image.
            name: what reports call them.

        Raises:
            ValueError: boxes outside the image, or masks that hide everything.
        """
        size = _pair(image_size, "image_size")
        _check_fits(size, boxes, masks)
        (rows, height), (columns, width) = (_shifts(boxes, axis, size[axis], reach, masks) for axis in (0, 1))
        area = int(box_masks(size, torch.tensor(list(boxes))).any(0).sum())
        where = "anywhere" if reach is None else f"moved by at most {reach} pixels" if reach else "in their place"
        return cls(
            size,
            f"{name}, {len(boxes)} boxes of together {area} pixels ({_share(area, size)}), {where}",
            tuple(
                tuple((t + y, b + y + height, left + x, right + x + width) for t, b, left, right in boxes)
                for y in rows
                for x in columns
            ),
        )

    @classmethod
    def rp2(cls, size: int = 32, masks: int = 4, *, reach: int | None = 0) -> "MaskSet":
        """Masks for the four stickers of RP2's attack on a sign of ``size`` x ``size`` pixels; see :meth:`moved`."""
        scale = size / 32
        boxes = [tuple(round(edge * scale) for edge in box) for box in RP2_STICKERS]
        filled = [(t, max(b, t + 1), left, max(right, left + 1)) for t, b, left, right in boxes]
        return cls.moved(size, filled, masks, reach=reach, name="RP2's stickers")

    def hidden(self, device: torch.device | None = None) -> Tensor:
        """Where each mask hides the image, (len, H, W) bool."""
        whole = [box_masks(self.size, torch.tensor(mask, device=device)).any(0) for mask in self.masks]
        return torch.cat(whole)

    def covers(self, patches: Tensor) -> bool:
        """Whether each of some patches lies inside a mask, each of its boxes inside one of the mask's rectangles.

        patches: (P, R, 4) int64, each of R boxes, half-open (top, bottom, left, right).
        """
        found = torch.zeros(len(patches), dtype=torch.bool)
        top, bottom, left, right = patches.cpu()[:, :, None].unbind(-1)
        for mask in self.masks:
            t, b, le, r = torch.tensor(mask).unbind(-1)
            inside = (t <= top) & (bottom <= b) & (le <= left) & (right <= r)
            found |= inside.any(2).all(1)
        return bool(found.all())


def _spans(n: int, p: int, k: int) -> list[tuple[int, int]]:
    """First and last pixel plus one of each mask along an axis of n pixels, for a patch of p."""
    step = math.ceil((n - p + 1) / k)
    width = min(p + step - 1, n)
    return [(start, start + width) for start in sorted({*range(0, n - width, step), n - width})]


def _shifts(boxes: Sequence[Box], axis: int, n: int, reach: int | None, k: int) -> tuple[list[int], int]:
    """By how much the masks of moved boxes are shifted along an axis, and how much wider than a box they are."""
    first, last = min(box[2 * axis] for box in boxes), max(box[2 * axis + 1] for box in boxes)
    low, high = (-first, n - last) if reach is None else (max(-reach, -first), min(reach, n - last))
    step = math.ceil((high - low + 1) / k)
    return sorted({*range(low, high - step + 1, step), high - step + 1}), step - 1


def _inside(mask: tuple[Box, ...], other: tuple[Box, ...]) -> bool:
    """Whether the one rectangle of a mask lies in that of another."""
    (top, bottom, left, right), (t, b, le, r) = mask[0], other[0]
    return mask != other and t <= top and bottom <= b and le <= left and right <= r


def _check_fits(size: Size, boxes: Sequence[Box], masks: int) -> None:
    if isinstance(masks, bool) or not isinstance(masks, int) or masks < 2:
        raise ValueError(f"masks: expected from 2 along each axis, for one would hide everything; got {masks!r}")
    for top, bottom, left, right in boxes:
        height, width = bottom - top, right - left
        if not (0 <= top < bottom <= size[0] and 0 <= left < right <= size[1]):
            raise ValueError(f"patch: {height}x{width} pixels at ({top}, {left}) do not fit {_text(size)} pixels")
        if (height, width) == size:
            raise ValueError(f"patch: {height}x{width} pixels fill the {_text(size)} image, of which nothing is left")


def _pair(value: int | Size, name: str) -> Size:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in pair):
        raise ValueError(f"{name}: expected pixels, one number or (height, width), got {value!r}")
    return pair[0], pair[1]


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def _share(area: int, size: Size) -> str:
    return f"{100 * area / (size[0] * size[1]):.1f} % of {_text(size)}"
