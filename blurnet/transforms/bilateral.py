"""Bilateral filter: averages over neighbours that are near both in place and in colour."""

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.bounds import Odd, Positive
from blurnet.settings import Settings, takes
from blurnet.transforms._blocks import by_blocks, prepare, records, reflect, rounded_into_range
from blurnet.transforms._pairs import Shift, add_pair, half_plane, halvings, squared_distance
from blurnet.transforms.base import Transform


@dataclass(frozen=True)
class BilateralSettings(Settings):
    """Of :func:`bilateral`.

    Args:
        window: odd side of the window in pixels.
        sigma_color: in units of pixel values, above 0. None: each image's standard deviation, as scikit-image has it.
        sigma_spatial: in pixels, above 0.
        rule: "scikit-image" or "opencv".
    """

    window: Odd = 5
    sigma_color: Positive | None = field(default=None, metadata={"format": ""})
    sigma_spatial: Positive = 1.0
    rule: Literal["scikit-image", "opencv"] = "scikit-image"


@takes(BilateralSettings)
def bilateral(x: Tensor, settings: BilateralSettings) -> Tensor:
    """Average each pixel's window with weights that fall with the distance in place and in colour.

    "scikit-image" gives the numbers of ``denoise_bilateral(image, window, sigma_color, sigma_spatial,
    channel_axis=-1)`` to 1e-3 (the library looks its weights up in a table of 10,000 bins), with what its code does
    beyond its documentation: the Euclidean distance of colours is divided by the number of channels; pixels beyond
    the border are black and count; and the table of spatial weights, one wider than the window, is read with the
    window's stride, which skews the window.
    "opencv" gives those of ``cv2.bilateralFilter(image, window, 255 sigma_color, sigma_spatial)`` to 1/255, its 8-bit
    rounding: the distance of colours is the sum over channels, the window is round, the border mirrored.

    Args:
        x: images (N, C, H, W) in [0, 1], any size.
        settings: the fields of :class:`BilateralSettings`, as arguments of their own.

    Returns:
        Images (N, C, H, W) in [0, 1]; differentiable. An image of one value comes back unchanged.

    Raises:
        TypeError, ValueError: bad images or settings.

    Source: Tomasi & Manduchi 1998; Naseer et al. 2019, Table 1 (BF, window 5, scikit-image); Xu et al. 2018 (OpenCV).
    """
    images = prepare(x, values=False)
    return by_blocks(lambda part: rounded_into_range(_filtered(part, settings), images.dtype), images, 2**19).to(
        x.dtype
    )


class Bilateral(Transform):
    """:func:`bilateral` as a module, with its settings. Differentiable, so it is its own surrogate."""

    differentiable = True

    @takes(BilateralSettings)
    def __init__(self, settings: BilateralSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to the same."""
        return bilateral(x, self.settings)


def _filtered(x: Tensor, settings: BilateralSettings) -> Tensor:
    radius, rule = settings.window // 2, settings.rule
    spatial = _spatial(settings.window, settings.sigma_spatial, rule)
    unit = _unit(x, settings.sigma_color, rule)
    scaled = x * unit
    padded = F.pad(scaled, (radius,) * 4) if rule == "scikit-image" else reflect(scaled, radius)

    def weight(near: Tensor, far: Tensor) -> Tensor:
        if rule == "opencv":
            return halvings((near - far).abs().sum(1, keepdim=True).square())
        return halvings(squared_distance(near, far))

    mean = (scaled * spatial[0, 0], torch.full_like(x[:, :1], spatial[0, 0]))
    for down, across in half_plane(radius):
        shift = Shift(down, across, spatial.get((down, across), 0.0), spatial.get((-down, -across), 0.0))
        add_pair(mean, padded, radius, shift, weight, 0)
    flat = x.amax((1, 2, 3), keepdim=True) == x.amin((1, 2, 3), keepdim=True)
    value = mean[0] / (mean[1] * unit)
    # A look at the images pays where it is free: on a GPU it would wait.
    known = x.is_cpu and not records(x)
    return value if known and not bool(flat.any()) else torch.where(flat, x, value)


def _unit(x: Tensor, sigma_color: float | None, rule: str) -> Tensor:
    """The factor of the pixels, (N, 1, 1, 1), after which their squared distance is the power of 1/2 they weigh."""
    share = x.shape[1] if rule == "scikit-image" else 1
    if sigma_color is not None:
        return x.new_full((1, 1, 1, 1), math.sqrt(0.5 / math.log(2)) / (sigma_color * share))
    variance = (x - x.mean((1, 2, 3), keepdim=True)).square().mean((1, 2, 3), keepdim=True)  # faster than var()
    # An image of one value has none, and is returned as it is.
    return math.sqrt(0.5 / math.log(2)) / (torch.where(variance > 0, variance, 1.0).sqrt() * share)


def _spatial(window: int, sigma: float, rule: str) -> dict[tuple[int, int], float]:
    """Weight of each place (down, across) of the window."""
    radius = window // 2
    places = [(i, j) for i in range(-radius, radius + 1) for j in range(-radius, radius + 1)]
    if rule == "opencv":
        return {(i, j): math.exp(-0.5 * (i * i + j * j) / sigma**2) for i, j in places if math.hypot(i, j) <= radius}
    # The table has a row and a column more, which begin one pixel earlier, and is read as if it had not.
    table = [(i, j) for i in range(-radius - 1, radius + 1) for j in range(-radius - 1, radius + 1)]
    return {place: math.exp(-0.5 * (i * i + j * j) / sigma**2) for place, (i, j) in zip(places, table, strict=False)}
