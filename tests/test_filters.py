"""Kernels sum to 1 and filter as scipy does."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from blurnet.filters import KERNELS, binomial, box, depthwise, gaussian, make_kernel

SCIPY = {"reflect": "mirror", "replicate": "nearest", "zeros": "constant", "circular": "wrap"}


@pytest.mark.parametrize("k", [1, 3, 5, 7, 15])
@pytest.mark.parametrize("name", sorted(KERNELS))
def test_kernels_are_symmetric_and_sum_to_one(name, k):
    kernel = make_kernel(name, k)
    assert kernel.shape == (k, k)
    assert kernel.dtype == torch.float32
    assert math.isclose(kernel.double().sum().item(), 1, abs_tol=1e-6)
    torch.testing.assert_close(kernel, kernel.T)
    torch.testing.assert_close(kernel, kernel.flip(0))
    assert (kernel > 0).all()


def test_values():
    assert torch.equal(box(3), torch.full((3, 3), 1 / 9))
    torch.testing.assert_close(binomial(3) * 16, torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]))
    row = torch.exp(-torch.tensor([4.0, 1, 0, 1, 4]) / 2)
    torch.testing.assert_close(gaussian(5, 1.0), torch.outer(row, row) / row.sum() ** 2)
    torch.testing.assert_close(gaussian(5), gaussian(5, 1.1))


@pytest.mark.parametrize("k", [0, 2, 4, -1, 3.0])
@pytest.mark.parametrize("kernel", [box, binomial, gaussian])
def test_even_sizes_raise(kernel, k):
    with pytest.raises(ValueError, match="positive odd integer"):
        kernel(k)


def test_bad_names_raise():
    with pytest.raises(ValueError, match=r"one of \['binomial', 'box', 'gaussian'\], got 'median'"):
        make_kernel("median", 3)
    for sigma in (0, -1.0, math.nan):
        with pytest.raises(ValueError, match="sigma"):
            gaussian(3, sigma)


@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize("padding", sorted(SCIPY))
def test_depthwise_equals_scipy(padding, k, generator):
    x = torch.rand(2, 3, 9, 11, generator=generator, dtype=torch.float64)
    kernels = torch.rand(3, k, k, generator=generator, dtype=torch.float64)
    wanted = [
        [ndimage.correlate(m, w, mode=SCIPY[padding]) for m, w in zip(one, kernels.numpy(), strict=True)]
        for one in x.numpy()
    ]
    np.testing.assert_allclose(depthwise(x, kernels, padding).numpy(), np.array(wanted), atol=1e-12)


def test_one_kernel_serves_all_channels(generator):
    x = torch.rand(1, 4, 8, 8, generator=generator)
    torch.testing.assert_close(depthwise(x, box(3)), depthwise(x, box(3).expand(4, 3, 3)))


def test_depthwise_refuses():
    x = torch.rand(1, 3, 4, 4)
    with pytest.raises(ValueError, match="positive odd"):
        depthwise(x, torch.rand(3, 2, 2))
    with pytest.raises(ValueError, match="2 kernels for 3 channels"):
        depthwise(x, torch.rand(2, 3, 3))
    with pytest.raises(ValueError, match=r"padding: expected one of .*'circular'\], got 'same'"):
        depthwise(x, box(3), "same")
    with pytest.raises(ValueError, match="too small to reflect 4 pixels"):
        depthwise(x, box(9))


@pytest.mark.parametrize("k", [3, 5])
def test_box_response(k):
    """DC passes; the amplitude at Nyquist along one axis is 1 / k."""
    constant = torch.ones(1, 1, 8, 8)
    torch.testing.assert_close(depthwise(constant, box(k)), constant)
    stripes = constant * torch.tensor([1.0, -1]).repeat(4)
    torch.testing.assert_close(depthwise(stripes, box(k), "circular").abs(), constant / k)
    padded = torch.zeros(16, 16)
    padded[:k, :k] = box(k)
    response = torch.fft.fft2(padded).abs()
    torch.testing.assert_close(response[0, 8], torch.tensor(1 / k))
    torch.testing.assert_close(response[8, 8], torch.tensor(1 / k**2))
