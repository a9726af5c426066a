"""Low-pass kernels and depthwise filtering."""

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.checks import check_odd

KernelName = Literal["box", "binomial", "gaussian"]
Padding = Literal["reflect", "replicate", "zeros", "circular"]


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
    if name not in KERNELS:
        raise ValueError(f"kernel: expected one of {sorted(KERNELS)}, got {name!r}")
    return KERNELS[name](k)


def check_padding(padding: str) -> None:
    """Require a known border rule; ValueError lists them."""
    if padding not in get_args(Padding):
        raise ValueError(f"padding: expected one of {list(get_args(Padding))}, got {padding!r}")


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
    check_padding(padding)
    if padding == "reflect" and half >= min(x.shape[-2:]):
        raise ValueError(f"depthwise: maps {tuple(x.shape)} are too small to reflect {half} pixels; use replicate")
    padded = F.pad(x, (half,) * 4, mode=padding) if half else x
    return F.conv2d(padded, weight, groups=channels)
