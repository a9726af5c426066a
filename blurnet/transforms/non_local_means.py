"""Non-local means: averages over pixels whose surroundings look alike."""

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from blurnet.bounds import Bounds, Odd, Positive
from blurnet.settings import Settings, takes
from blurnet.transforms._blocks import by_blocks, prepare, reflect, rounded_into_range
from blurnet.transforms._color import lab, rgb_of_lab
from blurnet.transforms._pairs import Shift, add_pair, half_plane, squared_distance
from blurnet.transforms.base import Transform


@dataclass(frozen=True)
class NonLocalMeansSettings(Settings):
    """Of :func:`non_local_means`.

    Args:
        search: odd side of the search window in pixels.
        patch: odd side of the patches in pixels, 3 at least.
        strength: in units of pixel values, above 0; larger smooths more. 4 / 255 with windows 11 and 3 is feature
            squeezing's "11-3-4" for ImageNet.
        rule: "opencv" or "scikit-image".
    """

    search: Odd = 11
    patch: Annotated[int, Bounds("an odd number of pixels, at least 3", 3, odd=True)] = 3
    strength: Positive = field(default=4 / 255, metadata={"format": ".4g"})
    rule: Literal["opencv", "scikit-image"] = "opencv"


@takes(NonLocalMeansSettings)
def non_local_means(x: Tensor, settings: NonLocalMeansSettings) -> Tensor:
    """Average over a search window with weights that fall with the distance between the patches around two pixels.

    "opencv" follows ``cv2.fastNlMeansDenoisingColored(image, None, 255 strength, 255 strength, patch, search)``:
    lightness and colour of CIE L*a*b* apart, weights ``exp(-distance / strength^2)`` of the mean squared distance,
    those below 0.001 dropped; to 1/255 on average, as the library rounds L*a*b* to 8 bits and this does not. The
    library expects BGR. One-channel images are taken as they are, as by ``cv2.fastNlMeansDenoising``.
    "scikit-image" gives the numbers of ``denoise_nl_means(image, patch, search // 2, strength, channel_axis=-1)``
    (its fast mode) to 0.005, as its exponential is approximate, with what its code does: patches are one pixel
    smaller than asked, and their squared distance is divided as if they were not; weights below exp(-5) are dropped.

    Args:
        x: images (N, C, H, W) in [0, 1], C 1 or 3 for "opencv"; any size.
        settings: the fields of :class:`NonLocalMeansSettings`, as arguments of their own.

    Returns:
        Images (N, C, H, W) in [0, 1]. Differentiable; for the backward pass one map of weights is kept for each pair
        of opposite shifts, the rest is computed again.

    Raises:
        TypeError, ValueError: bad images or settings.

    Source: Buades et al. 2005; Xu et al. 2018, "Feature Squeezing" (OpenCV).
    """
    images = prepare(x, values=False)
    if settings.rule == "opencv" and x.shape[1] not in (1, 3):
        raise ValueError(f"non-local means: OpenCV's rule takes 1 or 3 channels, got {tuple(x.shape)}")
    function = _opencv if settings.rule == "opencv" else _scikit_image
    radius, patch, strength = settings.search // 2, settings.patch, settings.strength
    return by_blocks(
        lambda part: rounded_into_range(function(part, radius, patch, strength), images.dtype), images, 2**19
    ).to(x.dtype)


class NonLocalMeans(Transform):
    """:func:`non_local_means` as a module, with its settings. Differentiable, so it is its own surrogate."""

    differentiable = True

    @takes(NonLocalMeansSettings)
    def __init__(self, settings: NonLocalMeansSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to the same."""
        return non_local_means(x, self.settings)


def _opencv(x: Tensor, radius: int, patch: int, strength: float) -> Tensor:
    box = (-(patch // 2), patch // 2)
    if x.shape[1] == 1:
        return _means(255 * x, radius, box, (255 * strength * patch) ** 2, 1e-3) / 255
    # The library's 8-bit L*a*b* stretches L to 255 and leaves a and b.
    values = lab(x) * x.new_tensor([2.55, 1, 1])[:, None, None]
    light, colour = values[:, :1], values[:, 1:]
    light = _means(light, radius, box, (255 * strength * patch) ** 2, 1e-3)
    colour = _means(colour, radius, box, 2 * (255 * strength * patch) ** 2, 1e-3)
    return rgb_of_lab(torch.cat((light / 2.55, colour), 1))


def _scikit_image(x: Tensor, radius: int, patch: int, strength: float) -> Tensor:
    return _means(x, radius, (1 - patch // 2, patch // 2), x.shape[1] * (strength * patch) ** 2, torch.e**-5)


def _means(x: Tensor, radius: int, box: tuple[int, int], scale: float, least: float) -> Tensor:
    """Means with weights exp(-(sum of squared differences over the patch) / scale), 0 where below ``least``."""
    halo = max(-box[0], box[1])
    margin = radius + halo
    # In these units the distance is the power of 1/2 that a pixel weighs.
    unit, longest = math.sqrt(1 / (scale * math.log(2))), -math.log2(least)
    x = x * unit
    padded = reflect(x, margin)

    def weight(near: Tensor, far: Tensor) -> Tensor:
        distance = _box_sum(_box_sum(squared_distance(near, far), box, halo, -2), box, halo, -1)
        return F.threshold(distance.neg_(), -longest, -math.inf).exp2_()

    def weight_again(near: Tensor, far: Tensor) -> Tensor:
        again: Tensor = checkpoint(weight, near, far, use_reentrant=False, preserve_rng_state=False)
        return again

    records = torch.is_grad_enabled() and x.requires_grad
    mean = (x.clone(), torch.ones_like(x[:, :1]))
    for down, across in half_plane(radius):
        add_pair(mean, padded, margin, Shift(down, across), weight_again if records else weight, halo)
    return mean[0] / (mean[1] * unit)


def _box_sum(x: Tensor, box: tuple[int, int], halo: int, dim: int) -> Tensor:
    """Sums over the places ``box`` (first, last) around each one, along one dimension, without the ``halo``."""
    size = x.shape[dim] - 2 * halo
    total = x.narrow(dim, halo + box[0], size)
    for i, place in enumerate(range(box[0] + 1, box[1] + 1)):
        part = x.narrow(dim, halo + place, size)
        total = total.add_(part) if i else total + part
    return total
