"""The boxes to be inpainted: around the highest local maxima of each class's activation map."""

import torch
import torch.nn.functional as F
from torch import Tensor


def local_maxima(maps: Tensor, size: tuple[int, int], count: int, separation: int) -> Tensor:
    """The highest local maxima of each map, the highest first, none near a higher one.

    A local maximum is above 0 and no lower than its eight neighbours. Bilinear interpolation has its maxima where the
    values are, so that maps smaller than the image need not be enlarged.

    Args:
        maps: (N, K, h, w).
        size: (H, W) of the image in pixels.
        count: how many of each map at most.
        separation: of two maxima of one map that are at most so many pixels apart, in rows and in columns, the lower
            is suppressed; of equal ones, all but the first in reading order.

    Returns:
        Row and column of the pixel in the middle of each, (N, K, count, 2), integers; -1 where there are fewer.
    """
    rows, columns = (
        (2 * torch.arange(cells, device=maps.device) + 1) * pixels // (2 * cells)
        for cells, pixels in zip(maps.shape[-2:], size, strict=True)
    )
    places = torch.cartesian_prod(rows, columns)
    peaks = (maps == F.max_pool2d(maps, 3, 1, 1)) & (maps > 0)
    left, found = torch.where(peaks, maps, 0.0).flatten(2), []
    for _ in range(count):
        value, cell = left.max(-1)
        middle = places[cell]
        found.append(torch.where((value > 0)[..., None], middle, -1))
        left = left.masked_fill(((places - middle[..., None, :]).abs() <= separation).all(-1), 0.0)
    return torch.stack(found, 2)


def box_mask(middles: Tensor, half: int, size: tuple[int, int]) -> Tensor:
    """Squares of side ``2 half + 1``, cut off at the border.

    Args:
        middles: row and column of each (N, ..., 2), integers; negative ones stand for none.
        half: how far a square reaches from its middle, in pixels.
        size: (H, W) of the image in pixels.

    Returns:
        Mask (N, 1, H, W) of zeros and ones, float; may be empty.
    """
    middles = middles.flatten(1, -2)
    there = (middles >= 0).all(-1, keepdim=True)
    rows, columns = (
        (((torch.arange(pixels, device=middles.device) - middles[..., axis, None]).abs() <= half) & there).float()
        for axis, pixels in enumerate(size)
    )
    return (rows.mT @ columns > 0).float()[:, None]
