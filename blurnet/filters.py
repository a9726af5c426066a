"""What layers, transformations and attacks compute alike: low-pass kernels, differences, gradients, windows."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.checks import check_odd, one_of

KernelName = Literal["box", "binomial", "gaussian"]
Padding = Literal["reflect", "replicate", "zeros", "circular"]
Stencil = Literal["forward", "central", "sobel"]

#: How many times the derivative per pixel a stencil gives: Sobel's weights sum to 8 on a ramp.
GAIN: dict[str, float] = {"forward": 1.0, "central": 1.0, "sobel": 8.0}


def box(k: int) -> Tensor:
    """Moving average: (k, k) of 1 / k²."""
    check_odd(k)
    return torch.full((k, k), 1.0 / (k * k))


def binomial(k: int) -> Tensor:
    """Outer product of the binomial row (1, k-1, ..., 1) / 2^(k-1) with itself, shape (k, k)."""
    check_odd(k)
    row = torch.tensor([math.comb(k - 1, i) for i in range(k)], dtype=torch.float64)
    return _separable(row)


def gaussian(k: int, sigma: float | None = None) -> Tensor:
    """Sampled Gaussian, shape (k, k), sum 1.

    Args:
        k: odd size in pixels.
        sigma: standard deviation in pixels; by default 0.3 ((k - 1) / 2 - 1) + 0.8, as OpenCV has it.

    Raises:
        ValueError: even ``k`` or ``sigma`` not positive.
    """
    check_odd(k)
    sigma = 0.3 * ((k - 1) / 2 - 1) + 0.8 if sigma is None else sigma
    if not sigma > 0:
        raise ValueError(f"sigma: expected a positive number of pixels, got {sigma!r}")
    t = torch.arange(k, dtype=torch.float64) - k // 2
    return _separable(torch.exp(-(t**2) / (2 * sigma**2)))


def _separable(row: Tensor) -> Tensor:
    row = row / row.sum()
    return torch.outer(row, row).float()


KERNELS = {"box": box, "binomial": binomial, "gaussian": gaussian}


def make_kernel(name: str, k: int) -> Tensor:
    """The kernel called ``name`` at size ``k``; an unknown name lists what exists."""
    return KERNELS[one_of(name, sorted(KERNELS), "kernel")](k)


def depthwise(x: Tensor, kernels: Tensor, padding: Padding = "reflect") -> Tensor:
    """Filter each channel with its own kernel, keeping the size.

    Args:
        x: maps (N, C, H, W).
        kernels: (C, k, k), or (k, k) for one kernel shared by all channels; k odd.
        padding: how the border of k // 2 pixels is filled; "reflect" needs maps larger than that.

    Returns:
        The filtered maps (N, C, H, W).

    Raises:
        ValueError: even k, other number of kernels than channels, unknown padding, or maps too small for it.
    """
    channels, k = x.shape[1], kernels.shape[-1]
    check_odd(k)
    if kernels.ndim == 2:
        kernels = kernels.expand(channels, k, k)
    if kernels.shape[0] != channels:
        raise ValueError(f"depthwise: {kernels.shape[0]} kernels for {channels} channels, input {tuple(x.shape)}")
    weight = kernels.unsqueeze(1).to(x.dtype)
    half = k // 2
    if padding == "zeros":
        return F.conv2d(x, weight, padding=half, groups=channels)
    one_of(padding, Padding, "padding")
    if padding == "reflect" and half >= min(x.shape[-2:]):
        raise ValueError(f"depthwise: maps {tuple(x.shape)} are too small to reflect {half} pixels; use replicate")
    padded = F.pad(x, (half,) * 4, mode=padding) if half else x
    return F.conv2d(padded, weight, groups=channels)


def shifted(padded: Tensor, k: int) -> list[Tensor]:
    """Maps moved to each place of a k x k window, row by row.

    Args:
        padded: the maps with a border, (..., H + k - 1, W + k - 1).
        k: side of the window in pixels.

    Returns:
        k² views (..., H, W) of ``padded``.
    """
    height, width = (size - k + 1 for size in padded.shape[-2:])
    return [padded[..., top : top + height, left : left + width] for top in range(k) for left in range(k)]


def forward_differences(maps: Tensor, last: Literal["replicate", "constant"]) -> tuple[Tensor, Tensor]:
    """Next value less this one, along the rows and along the columns, each of the shape of ``maps`` (N, C, H, W).

    The last difference has no next value: it repeats the one before ("replicate"), or is 0 ("constant").
    """
    across, down = maps.diff(dim=-1), maps.diff(dim=-2)
    return F.pad(across, (0, 1, 0, 0), mode=last), F.pad(down, (0, 0, 0, 1), mode=last)


def derivatives(maps: Tensor, stencil: Stencil = "forward") -> tuple[Tensor, Tensor]:
    """Derivatives along the rows and along the columns.

    Args:
        maps: (N, C, H, W), at least 2 x 2.
        stencil: "forward" difference with the next pixel, the last one repeated; "central" as numpy.gradient,
            one-sided at the borders; "sobel" as scipy.ndimage.sobel with its default border.

    Returns:
        (across, down), each of the shape of ``maps``; :data:`GAIN` times the derivative per pixel.

    Raises:
        ValueError: unknown stencil.
    """
    if one_of(stencil, Stencil, "stencil") == "forward":
        return forward_differences(maps, "replicate")
    if stencil == "central":
        across = F.pad(maps.diff(dim=-1), (1, 1, 0, 0), mode="replicate")
        down = F.pad(maps.diff(dim=-2), (0, 0, 1, 1), mode="replicate")
        return (across[..., 1:] + across[..., :-1]) / 2, (down[..., 1:, :] + down[..., :-1, :]) / 2
    padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
    across, down = padded[..., 2:] - padded[..., :-2], padded[..., 2:, :] - padded[..., :-2, :]
    return (
        across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :],
        down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:],
    )


def scaled_gradient(maps: Tensor, stencil: Stencil = "forward") -> Tensor:
    """Gradient magnitude of maps (N, C, H, W), scaled to [0, 1] over all maps of an image; differentiable.

    Flat pixels take the gradient 0, where the square root's slope is infinite. An image whose magnitudes differ by
    rounding errors only has 0 everywhere.

    Source: Naseer et al. 2019, "Local Gradients Smoothing", Eq. 5-6.
    """
    across, down = derivatives(maps, stencil)
    square = across.square() + down.square()
    magnitude = torch.where(square > 0, torch.where(square > 0, square, 1.0).sqrt(), 0.0)
    low, high = magnitude.amin(dim=(1, 2, 3), keepdim=True), magnitude.amax(dim=(1, 2, 3), keepdim=True)
    flat = high - low <= 8 * torch.finfo(magnitude.dtype).eps * GAIN[stencil]
    return torch.where(flat, 0.0, (magnitude - low) / torch.where(flat, 1.0, high - low))


def total_variation(maps: Tensor, dims: tuple[int, int] = (-2, -1)) -> Tensor:
    """Anisotropic total variation ``sum |F[i+1, j] - F[i, j]| + |F[i, j+1] - F[i, j]|`` of each map.

    Args:
        maps: (..., H, W).
        dims: the two dimensions of the maps, in the order of the sum; the gradient's last bit depends on it.

    Returns:
        (...), sums over pixels, not means. A constant map gives 0, an inner impulse of height a gives 4 |a|.

    Source: Raju & Lipasti, BlurNet, total-variation regularisation.
    """
    first, second = (maps.diff(dim=dim).abs().sum(dim=(-2, -1)) for dim in dims)
    return first + second


@dataclass(frozen=True)
class Windows:
    """``rows`` x ``columns`` windows of ``block`` pixels, every ``stride``, on images of height x width pixels."""

    height: int
    width: int
    block: int
    stride: int
    rows: int
    columns: int

    @property
    def cell(self) -> int:
        """Side of the largest squares of which all windows are made, in pixels."""
        return math.gcd(self.block, self.stride)

    @property
    def covered(self) -> tuple[int, int]:
        """Pixels from the first window's begin to the last one's end, down and across; may exceed the image."""
        return (self.rows - 1) * self.stride + self.block, (self.columns - 1) * self.stride + self.block

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of the map that holds image and windows, in whole cells."""
        down, across = self.covered
        cell = self.cell
        return -(-max(down, self.height) // cell) * cell, -(-max(across, self.width) // cell) * cell

    def means(self, maps: Tensor) -> Tensor:
        """Mean of each window over its pixels and all maps (N, C, H, W), mirrored where windows leave them.

        Returns:
            (N, 1, rows, columns).
        """
        bottom, right = (max(0, end - size) for end, size in zip(self.covered, (self.height, self.width), strict=True))
        padded = F.pad(maps, (0, right, 0, bottom), mode="reflect") if bottom or right else maps
        mean = F.avg_pool2d(padded, self.block, self.stride).mean(dim=1, keepdim=True)
        return mean[..., : self.rows, : self.columns]


def windows_over(
    size: torch.Size,
    block: int | None = None,
    overlap: int | None = None,
    *,
    beyond: bool = True,
    what: str = "windows",
) -> Windows:
    """The windows of local gradients smoothing over images, from the first pixel on.

    Args:
        size: of the images, (N, C, H, W).
        block: side of the windows in pixels. None: the paper's 15, and on images whose shorter side is below 75
            pixels a fifth of that side, at least 2.
        overlap: pixels that neighbouring windows share, below ``block``. None: a third of the block, as 5 of 15.
        beyond: whether one more window stands where whole windows leave a strip at the right or the lower border.
        what: how messages call the caller.

    Raises:
        ValueError: an image below 2 x 2 pixels, or windows that do not fit it.

    Source: Naseer et al. 2019, "Local Gradients Smoothing", Eq. 8.
    """
    height, width = size[-2:]
    side = min(height, width)
    if side < 2:
        raise ValueError(f"{what}: images need at least 2 x 2 pixels for a gradient, got {tuple(size)}")
    block = min(15, max(side // 5, 2)) if block is None else block
    overlap = block // 3 if overlap is None else overlap
    if not 0 <= overlap < block <= side:
        raise ValueError(f"{what}: block {block} with overlap {overlap} does not fit images {tuple(size)}")
    stride = block - overlap
    past = stride - 1 if beyond else 0
    rows, columns = ((length - block + past) // stride + 1 for length in (height, width))
    return Windows(height, width, block, stride, rows, columns)
