"""Fourier views of images and feature maps: log spectra and the share of energy in each band of frequency.

Frequencies are normalised: 0 is the mean (DC), 1 is the corner of the spectrum (Nyquist along both axes).
"""

import math

import torch
from torch import Tensor


def log_spectrum(x: Tensor) -> Tensor:
    """Log-magnitude spectrum with the zero frequency in the middle.

    x: maps (..., H, W), any real float. Returns (..., H, W): ``fftshift(log(1 + |FFT(x)|))``.
    Source: the feature-map spectra of BlurNet (Raju & Lipasti 2020).
    """
    spectrum: Tensor = torch.fft.fftshift(torch.log1p(torch.fft.fft2(_maps(x)).abs()), dim=(-2, -1))
    return spectrum


def radial_energy(x: Tensor, bins: int) -> Tensor:
    """Share of the energy (|FFT|²) in ``bins`` rings of equal width over the normalised frequency.

    x: maps (..., H, W). Returns (..., bins); each row sums to 1, or is 0 for a map without energy.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    energy = torch.fft.fft2(_maps(x)).abs().square().flatten(-2)
    ring = (_radius(x).flatten() * bins).long().clamp(max=bins - 1)
    total = energy.new_zeros(*energy.shape[:-1], bins).index_add_(-1, ring, energy)
    return _share(total, energy.sum(-1, keepdim=True))


def low_frequency_energy(x: Tensor, cutoff: float) -> Tensor:
    """Share of the energy at normalised frequencies up to ``cutoff`` (0 keeps the mean only, 1 everything).

    x: maps (..., H, W). Returns (...): values in [0, 1], 0 for a map without energy.
    """
    if not 0 <= cutoff <= 1:
        raise ValueError(f"cutoff must be in [0, 1] (1 is the corner of the spectrum), got {cutoff}")
    energy = torch.fft.fft2(_maps(x)).abs().square()
    # The corner's own radius may round above 1.
    low = (energy * (_radius(x) <= cutoff + 1e-6)).sum((-2, -1))
    return _share(low, energy.sum((-2, -1)))


def dct2(x: Tensor, band: int) -> Tensor:
    """The lowest ``band`` x ``band`` coefficients of the orthonormal two-dimensional DCT-II.

    x: maps (..., H, W), any real float. Returns (..., band, band). With ``band`` the side of square maps, it and
    :func:`inverse_dct2` undo each other; with less, one after the other gives the nearest maps of low frequency.
    """
    height, width = _maps(x).shape[-2:]
    return dct_basis(height, band, x).mT @ x @ dct_basis(width, band, x)


def inverse_dct2(coefficients: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (..., H, W) whose lowest DCT coefficients (..., d, d) are these and whose others are 0.

    The sum of squares of the maps is that of the coefficients.
    """
    rows, columns = _maps(coefficients).shape[-2:]
    return dct_basis(size[0], rows, coefficients) @ coefficients @ dct_basis(size[1], columns, coefficients).mT


def dct_basis(size: int, band: int, like: Tensor) -> Tensor:
    """The lowest ``band`` cosines of the orthonormal DCT-II on ``size`` points, as columns (size, band)."""
    if not 1 <= band <= size:
        raise ValueError(f"band must be from 1 to the {size} pixels of a side, got {band}")
    places = (torch.arange(size, dtype=torch.float64) + 0.5) * (math.pi / size)
    basis = torch.cos(places[:, None] * torch.arange(band)) * math.sqrt(2 / size)
    basis[:, 0] /= math.sqrt(2)
    return basis.to(like)


def _maps(x: Tensor) -> Tensor:
    if not x.is_floating_point() or x.ndim < 2 or 0 in x.shape[-2:]:
        raise ValueError(f"maps must be float with shape (..., H, W), got {x.dtype} {tuple(x.shape)}")
    # The FFT of half precision exists only on some devices and sizes.
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _radius(x: Tensor) -> Tensor:
    """Normalised frequency of each FFT coefficient, (H, W)."""
    rows, columns = (torch.fft.fftfreq(size, device=x.device) for size in x.shape[-2:])
    return torch.hypot(rows[:, None], columns[None, :]) / math.sqrt(0.5)


def _share(part: Tensor, total: Tensor) -> Tensor:
    return torch.where(total > 0, part / total.clamp(min=torch.finfo(total.dtype).tiny), 0.0)
