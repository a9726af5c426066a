"""Median filter."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.bounds import Odd
from blurnet.filters import shifted
from blurnet.settings import Settings, takes
from blurnet.transforms._blocks import by_planes, prepare, symmetric
from blurnet.transforms._opencv import filter_planes, filters
from blurnet.transforms.base import Transform


@dataclass(frozen=True)
class MedianSettings(Settings):
    """Of :func:`median`.

    Args:
        size: odd side of the window in pixels; 1 is the identity.
    """

    size: Odd = 3


@takes(MedianSettings)
def median(x: Tensor, settings: MedianSettings) -> Tensor:
    """Each value's median over the ``size`` x ``size`` window around it, channel by channel.

    The values are those of ``scipy.ndimage.median_filter(image, (size, size, 1))`` bit for bit (mode "reflect"), which
    the paper and feature squeezing use. Where neighbours differ the gradient is that of the value chosen.

    Args:
        x: images (N, C, H, W) in [0, 1], any size.
        settings: the fields of :class:`MedianSettings`, as arguments of their own.

    Returns:
        Images (N, C, H, W) in [0, 1].

    Raises:
        TypeError, ValueError: bad images or an even size.

    Source: Xu et al. 2018, "Feature Squeezing", section 4.2; Naseer et al. 2019, Table 1 (MF, window 3).
    """
    size = settings.size
    images = prepare(x, values=size == 1)
    if size == 1:
        return x
    if size == 3 and (cv2 := filters(images)):  # its border repeats the last pixel: "reflect" for this size alone
        return filter_planes(lambda plane, out: cv2.medianBlur(plane, 3, dst=out), images).to(x.dtype)
    records = images.requires_grad and torch.is_grad_enabled()
    rule = _three if size == 3 else _chosen if records else _selected
    return by_planes(lambda part: rule(part, size), images, 2**17).to(x.dtype)


class Median(Transform):
    """:func:`median` as a module, with its settings.

    Differentiable where neighbours differ, so it is its own surrogate.
    """

    differentiable = True

    @takes(MedianSettings)
    def __init__(self, settings: MedianSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to the same."""
        return median(x, self.settings)


def _three(x: Tensor, size: int) -> Tensor:
    """The 3 x 3 median: columns sorted once for three windows, then the middle of (highest low, ..., lowest high)."""
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    top, middle, bottom = padded[..., :-2, :], padded[..., 1:-1, :], padded[..., 2:, :]
    low, high = top.minimum(middle), top.maximum(middle)
    middle, high = high.minimum(bottom), high.maximum(bottom)
    low, middle = low.minimum(middle), low.maximum(middle)
    low = _shifted(low, 0).maximum(_shifted(low, 1)).maximum(_shifted(low, 2))
    high = _shifted(high, 0).minimum(_shifted(high, 1)).minimum(_shifted(high, 2))
    middle = _middle(_shifted(middle, 0), _shifted(middle, 1), _shifted(middle, 2))
    return _middle(low, middle, high)


def _shifted(columns: Tensor, by: int) -> Tensor:
    return columns[..., by : columns.shape[-1] - 2 + by]


def _middle(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return a.minimum(b).maximum(a.maximum(b).minimum(c))


def _selected(x: Tensor, size: int) -> Tensor:
    """Any size, by forgetting: the least and the greatest of just over half the window are never its median.

    Both leave and one value comes in, until three are left. The work is minima and maxima of whole images only.
    """
    values = _window(x, size)
    count = size * size // 2 + 2
    held, waiting = values[:count], values[count:]
    while len(held) > 3:
        held = _without_extremes(held) + waiting[:1]
        waiting = waiting[1:]
    return _middle(*held)


def _without_extremes(values: list[Tensor]) -> list[Tensor]:
    """The values but for the least and the greatest at each pixel, in no order."""
    low, high, rest = values[0].minimum(values[1]), values[0].maximum(values[1]), []
    for value in values[2:]:
        low, value = low.minimum(value), low.maximum(value)
        high, value = high.maximum(value), high.minimum(value)
        rest.append(value)
    return rest


def _chosen(x: Tensor, size: int) -> Tensor:
    """The same values, their gradient to one pixel each; keeps less for the backward pass than minima and maxima."""
    return torch.stack(_window(x, size), -1).median(-1).values


def _window(x: Tensor, size: int) -> list[Tensor]:
    """The image shifted to every place of the window; views of one padded copy."""
    return shifted(symmetric(x, size // 2, size // 2), size)
