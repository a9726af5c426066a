"""Where a localized attack may write: masks of zeros and ones, shape (1, 1, H, W)."""

import math
import os
from collections.abc import Sequence

import torch
from torch import Tensor

Box = tuple[int, int, int, int]

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
