"""A prior on images larger than a net draws well: overlapping tiles side by side, blended."""

from collections.abc import Sequence

import torch
from torch import Tensor

from blurnet.checks import check_images
from blurnet.transforms.deep_image_prior.deep_image_prior import prior_outputs
from blurnet.transforms.deep_image_prior.settings import DeepImagePriorSettings


def tiled_prior(
    x: Tensor,
    at: Sequence[int],
    prior: DeepImagePriorSettings | None = None,
    *,
    tile: int = 256,
    overlap: int = 32,
    progress: bool = False,
) -> Tensor:
    """What a prior has drawn after each of some numbers of iterations of one run, of images of any size.

    An image larger than a tile is cut into overlapping tiles of one size, which go through the prior side by side,
    each with a net of its own; where tiles overlap, their outputs are blended.

    Args:
        x: images (N, C, H, W) in [0, 1].
        at: iterations, rising, from 1.
        prior: its settings, but for ``iterations`` and ``stop``; None: the defaults.
        tile: side of the largest piece that one net draws, in pixels, at least 32.
        overlap: of neighbouring tiles at least, in pixels, less than a tile.
        progress: whether to show a bar.

    Returns:
        (len(at), N, C, H, W) in [0, 1].

    Raises:
        TypeError, ValueError: bad images, iterations, tiles, or settings of the prior.
    """
    check_images(x, channels=None)
    if tile < 32 or not 0 <= overlap < tile:
        raise ValueError(f"tiled_prior: a tile has at least 32 pixels and overlaps by less, got {tile} and {overlap}")
    rows, columns = (_starts(side, tile, overlap) for side in x.shape[-2:])
    height, width = (min(side, tile) for side in x.shape[-2:])
    corners = [(top, left) for top in rows for left in columns]
    pieces = torch.cat([x[..., top : top + height, left : left + width] for top, left in corners])
    drawn = prior_outputs(pieces, at, prior, progress=progress).reshape(
        len(at), len(corners), *x.shape[:2], height, width
    )
    total, weights = x.new_zeros(len(at), *x.shape), x.new_zeros(x.shape[-2:])
    ramp = _ramp(height, overlap, x)[:, None] * _ramp(width, overlap, x)
    for number, (top, left) in enumerate(corners):
        place = (..., slice(top, top + height), slice(left, left + width))
        total[place] += drawn[:, number] * ramp
        weights[place] += ramp
    return total / weights


def _starts(side: int, tile: int, overlap: int) -> list[int]:
    """Where the tiles along a side begin: evenly spaced, the last one at the end."""
    room = max(side - tile, 0)
    count = -(-room // (tile - overlap)) + 1
    return [round(room * k / max(count - 1, 1)) for k in range(count)]


def _ramp(side: int, overlap: int, x: Tensor) -> Tensor:
    """Weights (side,) that rise from an edge of a tile over the overlap."""
    at = torch.arange(side, dtype=x.dtype, device=x.device) + 0.5
    return (torch.minimum(at, side - at) / max(overlap, 1)).clamp(max=1)
