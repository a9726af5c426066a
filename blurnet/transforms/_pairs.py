"""Weighted means over shifted copies of an image, where the weight of two pixels is the same both ways."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch import Tensor

#: The weight (N, 1, h, w) that two views (N, C, h + u, w + u) of an image give each other's pixels.
Weight = Callable[[Tensor, Tensor], Tensor]


class Shift(NamedTuple):
    """A shift in pixels and what the pixels at its two ends weigh besides."""

    down: int
    across: int
    there: float = 1.0
    back: float = 1.0


def half_plane(radius: int) -> Iterator[tuple[int, int]]:
    """One of each pair of opposite shifts (down, across) of at most ``radius`` pixels, without the zero."""
    for down in range(radius + 1):
        for across in range(-radius if down else 1, radius + 1):
            yield down, across


def add_pair(mean: tuple[Tensor, Tensor], padded: Tensor, margin: int, shift: Shift, weight: Weight, halo: int) -> None:
    """Add to the sums of values and of weights what two opposite shifts contribute, in place.

    Args:
        mean: sums of weighted values (N, C, H, W) and of weights (N, 1, H, W).
        padded: the image with ``margin`` pixels of border, at least the longest shift and ``halo``.
        margin: pixels of border.
        shift: down is 0 or more.
        weight: of views that reach ``halo`` pixels further than its result.
        halo: see ``weight``.
    """
    total, weights = mean
    height, width = weights.shape[-2:]
    down, across = shift.down, abs(shift.across)
    right, left = max(shift.across, 0), max(-shift.across, 0)
    box = (margin - down, margin - right, height + down, width + across)
    near, far = _view(padded, box, halo), _view(padded, box, halo, (shift.down, shift.across))
    e = weight(near, far)
    near, far = _view(padded, box), _view(padded, box, 0, (shift.down, shift.across))
    for start, values, factor in (((down, right), far, shift.there), ((0, left), near, shift.back)):
        if factor:
            rows, columns = slice(start[0], start[0] + height), slice(start[1], start[1] + width)
            part = e[..., rows, columns]
            total.addcmul_(part, values[..., rows, columns], value=factor)
            weights.add_(part, alpha=factor)


def _view(padded: Tensor, box: tuple[int, int, int, int], halo: int = 0, shift: tuple[int, int] = (0, 0)) -> Tensor:
    top, left = box[0] + shift[0] - halo, box[1] + shift[1] - halo
    return padded[..., top : top + box[2] + 2 * halo, left : left + box[3] + 2 * halo]


def halvings(distance: Tensor) -> Tensor:
    """``2^-distance`` in place; below 2^-100 it stays there.

    On CPUs powers of 2 are faster than exp, and results that are not normal numbers are slow.
    """
    return distance.neg_().clamp_(min=-100).exp2_()


def squared_distance(near: Tensor, far: Tensor) -> Tensor:
    """Sum over channels of squared differences, (N, 1, H, W)."""
    difference = near - far
    total = difference[:, :1].square()
    for i in range(1, difference.shape[1]):
        channel = difference[:, i : i + 1]
        total.addcmul_(channel, channel)
    return total
