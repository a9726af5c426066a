"""Wavelet shrinkage: BayesShrink and VisuShrink."""

import math
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from blurnet.bounds import Count, NotNegative
from blurnet.settings import Settings, takes
from blurnet.transforms._blocks import by_blocks, prepare, records, symmetric
from blurnet.transforms._color import rgb_of_studio_ycbcr, studio_ycbcr
from blurnet.transforms.base import Transform

Details = tuple[Tensor, Tensor, Tensor]

_QUARTILE = 0.6744897501960817  # of the standard normal distribution, the median of its absolute value


class Filters(NamedTuple):
    """The four filters of a wavelet, in PyWavelets' order of coefficients."""

    dec_lo: list[float]
    dec_hi: list[float]
    rec_lo: list[float]
    rec_hi: list[float]


@dataclass(frozen=True)
class WaveletSettings(Settings):
    """Of :func:`wavelet_denoise`.

    Args:
        method: "BayesShrink" takes a threshold for every band, "VisuShrink" one for all, ``sigma sqrt(2 log(H W))``.
        mode: "soft" shrinks towards 0, "hard" keeps or drops.
        wavelet: "db1" (Haar); other orthogonal wavelets by PyWavelets' names, which must then be installed.
        sigma: standard deviation of the noise in RGB. None: from the median of the finest diagonal details.
        levels: of the decomposition. None: three less than possible, 1 at least.
        ycbcr: work in YCbCr, as CIIDefence and Pixel Deflection do, or in RGB.
    """

    method: Literal["BayesShrink", "VisuShrink"] = "BayesShrink"
    mode: Literal["soft", "hard"] = "soft"
    wavelet: str = "db1"
    sigma: NotNegative | None = field(default=None, metadata={"format": ""})
    levels: Count | None = field(default=None, repr=False)
    ycbcr: bool = True


@takes(WaveletSettings)
def wavelet_denoise(x: Tensor, settings: WaveletSettings) -> Tensor:
    """Shrink the wavelet coefficients of each channel and transform back.

    Agrees with ``skimage.restoration.denoise_wavelet(image, sigma, wavelet, mode, levels, ycbcr, method,
    channel_axis=-1)``, clipped to [0, 1], to 1e-4.

    Args:
        x: images (N, C, H, W) in [0, 1], C 3 if ``ycbcr``; any size.
        settings: the fields of :class:`WaveletSettings`, as arguments of their own.

    Returns:
        Images (N, C, H, W) in [0, 1]; differentiable almost everywhere, thresholds included.

    Raises:
        TypeError, ValueError: bad images or settings. ImportError: another wavelet without PyWavelets.

    Source: Chang et al. 2000 (BayesShrink); Donoho & Johnstone 1994 (VisuShrink).
    """
    sigma, ycbcr = settings.sigma, settings.ycbcr
    images = prepare(x, channels=3 if ycbcr else None, values=False)
    filters = _filters(settings.wavelet)

    def run(part: Tensor) -> Tensor:
        values = studio_ycbcr(part) if ycbcr else part
        noise = None if sigma is None else _noise(part, sigma, ycbcr)
        values = (_scaled if ycbcr else _shrunk)(values, noise, filters, settings)
        return (rgb_of_studio_ycbcr(values) if ycbcr else values).clamp(0, 1)

    return by_blocks(run, images, 2**20).to(x.dtype)


class Wavelet(Transform):
    """:func:`wavelet_denoise` as a module, with its settings.

    Differentiable almost everywhere, so it is its own surrogate.
    """

    differentiable = True

    @takes(WaveletSettings)
    def __init__(self, settings: WaveletSettings) -> None:
        super().__init__()
        self.settings = settings
        _filters(settings.wavelet)  # an unknown one raises here

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to the same."""
        return wavelet_denoise(x, self.settings)

    def extra_repr(self) -> str:
        """The settings, for ``print(net)``; the names without their arguments'."""
        names = f"{self.settings.method!r}, {self.settings.mode!r}, {self.settings.wavelet!r}"
        return f"{names}, {self.shown('method', 'mode', 'wavelet')}"


def _scaled(x: Tensor, noise: Tensor | None, filters: Filters, settings: WaveletSettings) -> Tensor:
    """Shrinkage of channels stretched to [0, 1] and back; a channel of one value stays."""
    low, high = x.amin((-2, -1), keepdim=True), x.amax((-2, -1), keepdim=True)
    span = torch.where(high > low, high - low, 1.0)
    noise = None if noise is None else noise / span
    return (_shrunk((x - low).div_(span), noise, filters, settings) * span).add_(low)


def _shrunk(x: Tensor, noise: Tensor | None, filters: Filters, settings: WaveletSettings) -> Tensor:
    size, length, levels = x.shape[-2:], len(filters.dec_lo), settings.levels
    if levels is None:
        levels = max(int(math.log2(max(min(size) / (length - 1), 1))) - 3, 1)
    details: list[Details] = []
    for _ in range(levels):
        x, bands = _decomposed(x, filters)
        details.append(bands)
    sigma = _median_noise(details[0][2]) if noise is None else noise
    if settings.method == "VisuShrink":
        thresholds = [[sigma * math.sqrt(2 * math.log(size[0] * size[1]))] * 3] * levels
    else:
        thresholds = _bayes(details, sigma)
    for bands, limits in zip(reversed(details), reversed(thresholds), strict=True):
        height, width = bands[0].shape[-2:]
        across, down, diagonal = (
            _threshold(band, limit, settings.mode) for band, limit in zip(bands, limits, strict=True)
        )
        x = _rebuilt(x[..., :height, :width], (across, down, diagonal), filters)
    return x[..., : size[0], : size[1]]


def _median_noise(diagonal: Tensor) -> Tensor:
    """Noise of each channel (N, C, 1, 1): the median of the details that are not 0, over the normal quartile."""
    size = diagonal.flatten(-2).abs()
    if not (torch.compiler.is_compiling() or size.requires_grad) and size.device.type == "cpu":
        return _sorted_noise(size)
    size = size.masked_fill(size == 0, float("nan"))
    # Of an even number of values the median is between the two in the middle, of which nanmedian is the lower.
    lower = size.nanmedian(-1, keepdim=True).values
    rank = (size <= lower).sum(-1, keepdim=True)
    above = torch.where(size > lower, size, float("inf")).amin(-1, keepdim=True)
    count = (size > 0).sum(-1, keepdim=True)
    middle = torch.where((count % 2 == 0) & (rank == count // 2), (lower + above) / 2, lower)
    return torch.where(count > 0, middle / _QUARTILE, 0.0)[..., None]


def _sorted_noise(size: Tensor) -> Tensor:
    """The same of sizes (N, C, L) on the CPU, where NumPy sorts faster than torch finds a median."""
    ordered = torch.from_numpy(np.sort(size.numpy(), axis=-1))
    zeros = (size == 0).sum(-1, keepdim=True)
    count = size.shape[-1] - zeros
    pair = torch.cat([zeros + (count - 1) // 2, zeros + count // 2], dim=-1).clamp_(0, size.shape[-1] - 1)
    middle = ordered.gather(-1, pair).mean(-1, keepdim=True)
    return torch.where(count > 0, middle / _QUARTILE, 0.0)[..., None]


def _bayes(details: list[Details], sigma: Tensor) -> list[list[Tensor]]:
    """BayesShrink's threshold for each band: the noise's variance over the signal's standard deviation."""
    power = torch.stack([band.square().mean((-2, -1), keepdim=True) for bands in details for band in bands])
    signal = (power - sigma.square()).clamp(min=torch.finfo(sigma.dtype).eps).sqrt()
    thresholds = (sigma.square() / signal).unbind()
    return [list(thresholds[start : start + 3]) for start in range(0, len(thresholds), 3)]


def _threshold(band: Tensor, threshold: Tensor, mode: str) -> Tensor:
    if mode == "soft":
        return band - band.minimum(threshold).maximum(-threshold)  # clamp with tensors is slower
    return torch.where(band.abs() < threshold, 0.0, band)


def _noise(x: Tensor, sigma: float, ycbcr: bool) -> Tensor:
    """The noise of independent channels, in the channels worked in; (1, C, 1, 1)."""
    noise = x.new_full((1, x.shape[1], 1, 1), sigma)
    if not ycbcr:
        return noise
    mixing = studio_ycbcr(torch.eye(3, dtype=x.dtype, device=x.device)[..., None, None])[..., 0, 0]
    return (mixing.square().sum(0) * sigma**2).sqrt()[None, :, None, None]


def _decomposed(x: Tensor, filters: Filters) -> tuple[Tensor, Details]:
    """One level: the approximation, and the details across, down and diagonal; borders mirrored."""
    low, high = _analysed(x, filters, -2)
    approximation, across = _analysed(low, filters, -1)
    down, diagonal = _analysed(high, filters, -1)
    return approximation, (across, down, diagonal)


def _analysed(x: Tensor, filters: Filters, dim: int) -> tuple[Tensor, Tensor]:
    length, size = len(filters.dec_lo), x.shape[dim]
    count = (size + length - 1) // 2
    if length == 2:
        # Products first, as PyWavelets: which details are exactly 0, and left out of the noise, depends on rounding.
        x = _scaled_even(x, filters.dec_lo[0], dim)
        first, second = _every_second(x, dim, 0, count), _every_second(x, dim, 1, count)
        return first + second, first - second
    border = length - 1
    x = symmetric(x, border if dim == -2 else 0, border if dim == -1 else 0).narrow(dim, 1, size + 2 * border - 1)
    taps = [_every_second(x, dim, tap, count) for tap in range(length)]
    low, high = (_combined(taps, list(reversed(filter_))) for filter_ in (filters.dec_lo, filters.dec_hi))
    return low, high


def _scaled_even(x: Tensor, factor: float, dim: int) -> Tensor:
    """``x * factor``, an odd number of rows or columns continued by the last."""
    size = x.shape[dim]
    if size % 2 == 0:
        return x * factor
    last = x.narrow(dim, size - 1, 1)
    if records(x):
        return torch.cat((x, last), dim) * factor
    shape = list(x.shape)
    shape[dim] += 1
    scaled = x.new_empty(shape)
    for part, place in ((x, 0), (last, size)):
        torch.mul(part, factor, out=scaled.narrow(dim, place, part.shape[dim]))
    return scaled


def _rebuilt(approximation: Tensor, details: Details, filters: Filters) -> Tensor:
    across, down, diagonal = details
    low = _synthesised(approximation, across, filters, -1)
    high = _synthesised(down, diagonal, filters, -1)
    return _synthesised(low, high, filters, -2)


def _synthesised(low: Tensor, high: Tensor, filters: Filters, dim: int) -> Tensor:
    half = len(filters.rec_lo) // 2
    count = low.shape[dim] - half + 1
    if half == 1:
        return _alternating(low * filters.rec_lo[0], high * filters.rec_hi[0], dim)
    taps = [band.narrow(dim, half - 1 - i, count) for band in (low, high) for i in range(half)]
    even, odd = (_combined(taps, filters.rec_lo[phase::2] + filters.rec_hi[phase::2]) for phase in (0, 1))
    return _in_turn(even, odd, dim)


def _alternating(low: Tensor, high: Tensor, dim: int) -> Tensor:
    """The sum and the difference of two maps :func:`_in_turn`, written where they belong if nothing is recorded."""
    if records(low):
        return _in_turn(low + high, low - high, dim)
    shape = list(low.shape)
    shape[dim] *= 2
    out = low.new_empty(shape)
    torch.add(low, high, out=_every_second(out, dim, 0, low.shape[dim]))
    torch.sub(low, high, out=_every_second(out, dim, 1, low.shape[dim]))
    return out


def _in_turn(even: Tensor, odd: Tensor, dim: int) -> Tensor:
    """Rows or columns of two maps in turn."""
    return torch.stack((even, odd), dim).flatten(dim - 1, dim)


def _every_second(x: Tensor, dim: int, start: int, count: int) -> Tensor:
    chosen = slice(start, start + 2 * count - 1, 2)
    return x[..., chosen] if dim == -1 else x[..., chosen, :]


def _combined(taps: list[Tensor], weights: list[float]) -> Tensor:
    total = taps[0] * weights[0]
    for tap, weight in zip(taps[1:], weights[1:], strict=True):
        total.add_(tap, alpha=weight)
    return total


def _filters(wavelet: str) -> Filters:
    if wavelet in ("db1", "haar"):
        half = math.sqrt(0.5)
        return Filters([half, half], [-half, half], [half, half], [half, -half])
    try:
        import pywt
    except ImportError as error:
        raise ImportError(f"wavelet {wavelet!r} needs PyWavelets: pip install 'blurnet[transforms]'") from error
    if wavelet not in pywt.wavelist(kind="discrete") or not pywt.Wavelet(wavelet).orthogonal:
        raise ValueError(f"wavelet: expected 'db1' or another orthogonal one of PyWavelets, got {wavelet!r}")
    return Filters(*(list(filter_) for filter_ in pywt.Wavelet(wavelet).filter_bank))
