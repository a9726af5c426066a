"""Colour spaces, on images (..., 3, H, W)."""

import torch
from torch import Tensor

from blurnet.transforms._blocks import records

# ITU-R BT.601, full range, as JFIF (JPEG files) has it: Cb and Cr are centred at 0 here.
_YCBCR = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
# The same with the headroom of studio video, as scikit-image has it, over 255: offsets 16, 128, 128 are left out.
_STUDIO = ((65.481, 128.553, 24.966), (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214))
# Linear sRGB to CIE XYZ, the rows divided by the white point D65.
_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_WHITE = (0.950456, 1.0, 1.088754)


def ycbcr(x: Tensor) -> Tensor:
    """RGB to full-range YCbCr in the same units, chroma around 0."""
    return _mixed(x, _table(_YCBCR, x))


def rgb_of_ycbcr(y: Tensor) -> Tensor:
    """The inverse of :func:`ycbcr`."""
    return _mixed(y, torch.linalg.inv(_table(_YCBCR, y).double()).to(y))


def studio_ycbcr(x: Tensor) -> Tensor:
    """RGB in [0, 1] to scikit-image's YCbCr without its offsets (16, 128, 128)."""
    return _mixed(x, _table(_STUDIO, x))


def rgb_of_studio_ycbcr(y: Tensor) -> Tensor:
    """The inverse of :func:`studio_ycbcr`."""
    return _mixed(y, torch.linalg.inv(_table(_STUDIO, y).double()).to(y))


def lab(x: Tensor) -> Tensor:
    """Linear RGB in [0, 1] to CIE L*a*b* (D65): L in [0, 100], a and b around 0."""
    xyz = _mixed(x, _xyz(x))
    f = torch.where(xyz > 0.008856, xyz.clamp(min=0.008856) ** (1 / 3), 7.787 * xyz + 16 / 116)
    fx, fy, fz = f.unbind(-3)
    return torch.stack((116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)), -3)


def rgb_of_lab(y: Tensor) -> Tensor:
    """The inverse of :func:`lab`; values outside the cube of RGB are possible."""
    lightness, a, b = y.unbind(-3)
    fy = (lightness + 16) / 116
    f = torch.stack((fy + a / 500, fy, fy - b / 200), -3)
    xyz = torch.where(f > 0.008856 ** (1 / 3), f**3, (f - 16 / 116) / 7.787)
    return _mixed(xyz, torch.linalg.inv(_xyz(y).double()).to(y))


def _xyz(like: Tensor) -> Tensor:
    return _table(_XYZ, like) / torch.tensor(_WHITE, dtype=like.dtype, device=like.device)[:, None]


def _table(rows: tuple[tuple[float, ...], ...], like: Tensor) -> Tensor:
    return torch.tensor(rows, dtype=like.dtype, device=like.device)


def _mixed(x: Tensor, matrix: Tensor) -> Tensor:
    """Each output channel a weighted sum of the three input channels; no product that autocast would round."""
    first, second, third = x.unbind(-3)
    if records(x):
        return torch.stack([(first * a).add_(second, alpha=b).add_(third, alpha=c) for a, b, c in matrix.tolist()], -3)
    out = torch.empty_like(x)
    for row, (a, b, c) in zip(out.unbind(-3), matrix.tolist(), strict=True):
        torch.mul(first, a, out=row).add_(second, alpha=b).add_(third, alpha=c)
    return out
