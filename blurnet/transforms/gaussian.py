"""Gaussian filter with scipy's kernel and borders."""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from blurnet.bounds import Odd, Positive
from blurnet.settings import Settings, takes
from blurnet.transforms._blocks import by_planes, prepare, rounded_into_range, symmetric
from blurnet.transforms._opencv import Array, filter_planes, filters
from blurnet.transforms.base import Transform


@dataclass(frozen=True)
class GaussianSettings(Settings):
    """Of :func:`gaussian_filter`.

    Args:
        sigma: standard deviation in pixels, above 0.
        truncate: where the kernel ends, in standard deviations: at ``int(truncate * sigma + 0.5)`` pixels.
        window: odd width of the kernel in pixels; takes the place of ``truncate``.
    """

    sigma: Positive = 1.0
    truncate: Positive = 4.0
    window: Odd | None = None


@takes(GaussianSettings)
def gaussian_filter(x: Tensor, settings: GaussianSettings) -> Tensor:
    """Blur with a sampled Gaussian, channel by channel.

    Agrees with ``scipy.ndimage.gaussian_filter(image, (sigma, sigma, 0), truncate=truncate)`` (mode "reflect") to
    1e-6. The paper gives a "window of 5" and no sigma: ``window=5`` cuts the kernel there, scipy's ``radius=2``.

    Args:
        x: images (N, C, H, W) in [0, 1], any size.
        settings: the fields of :class:`GaussianSettings`, as arguments of their own.

    Returns:
        Images (N, C, H, W) in [0, 1]. Linear in the images, so the gradient is exact.

    Raises:
        TypeError, ValueError: bad images or settings.

    Source: Naseer et al. 2019, Table 1 (GF, window 5), run with scipy.
    """
    weights = _kernel(settings)
    images = prepare(x, values=False)
    if cv2 := filters(images):
        taps, border = np.array(weights[:0:-1] + weights, dtype=np.float32), cv2.BORDER_REFLECT

        def blur(plane: Array, out: Array) -> None:
            cv2.sepFilter2D(plane, -1, taps, taps, dst=out, borderType=border)
            out.clip(0, 1, out=out)  # sums of weights that rounding brings above 1

        return filter_planes(blur, images).to(x.dtype)
    return by_planes(lambda part: rounded_into_range(_blurred(part, weights), images.dtype), images).to(x.dtype)


class Gaussian(Transform):
    """:func:`gaussian_filter` as a module, with its settings. Linear, so it is its own surrogate."""

    differentiable = True

    @takes(GaussianSettings)
    def __init__(self, settings: GaussianSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to the same."""
        return gaussian_filter(x, self.settings)

    def extra_repr(self) -> str:
        """The settings that count, for ``print(net)``: the window or where the kernel is truncated."""
        return self.shown("window" if self.settings.window is None else "truncate")


def _kernel(settings: GaussianSettings) -> list[float]:
    """Weights at 0, 1, ... pixels from the middle; twice their sum less the first is 1."""
    sigma, window = settings.sigma, settings.window
    radius = int(settings.truncate * sigma + 0.5) if window is None else window // 2
    half = [math.exp(-0.5 * (i / sigma) ** 2) for i in range(radius + 1)]
    total = 2 * sum(half) - half[0]
    return [value / total for value in half]


def _blurred(x: Tensor, weights: list[float]) -> Tensor:
    radius = len(weights) - 1
    x = symmetric(x, radius, radius)
    for dim in (-2, -1):
        size = x.shape[dim] - 2 * radius
        blurred = x.narrow(dim, radius, size) * weights[0]
        for i, weight in enumerate(weights[1:], 1):
            blurred.add_(x.narrow(dim, radius - i, size), alpha=weight)
            blurred.add_(x.narrow(dim, radius + i, size), alpha=weight)
        x = blurred
    return x
