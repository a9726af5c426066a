"""Kernels sum to 1 and filter as scipy does."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from blurnet.filters import (
    GAIN,
    KERNELS,
    binomial,
    box,
    depthwise,
    derivatives,
    forward_differences,
    gaussian,
    make_kernel,
    scaled_gradient,
    shifted,
    windows_over,
)

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


def test_views_of_a_window():
    padded = torch.arange(20.0).view(4, 5)
    views = shifted(padded, 3)
    assert len(views) == 9
    assert torch.equal(views[0], padded[:2, :3])
    assert torch.equal(views[5], padded[1:3, 2:])
    assert views[8].data_ptr() == padded[2:, 2:].data_ptr()


def test_forward_differences_end_as_asked():
    maps = torch.tensor([[0.0, 1, 4], [2, 5, 9]])[None, None]
    across, down = forward_differences(maps, "constant")
    assert across[0, 0].tolist() == [[1, 3, 0], [3, 4, 0]]
    assert down[0, 0].tolist() == [[2, 4, 5], [0, 0, 0]]
    across, down = forward_differences(maps, "replicate")
    assert across[0, 0].tolist() == [[1, 3, 3], [3, 4, 4]]
    assert down[0, 0].tolist() == [[2, 4, 5], [2, 4, 5]]


@pytest.mark.parametrize("stencil", sorted(GAIN))
def test_derivatives_of_a_ramp(stencil):
    ramp = (2 * torch.arange(6.0)[:, None] + torch.arange(7.0))[None, None]
    across, down = (d[..., 1:-1, 1:-1] / GAIN[stencil] for d in derivatives(ramp, stencil))
    torch.testing.assert_close(across, torch.ones_like(across))
    torch.testing.assert_close(down, 2 * torch.ones_like(down))
    with pytest.raises(ValueError, match=r"stencil: expected one of .*, got 'scharr'"):
        derivatives(ramp, "scharr")


def test_scaled_gradient_lies_in_the_unit_interval_and_flat_images_have_none(generator):
    x = torch.rand(3, 2, 8, 9, generator=generator)
    x[1] = 0.4
    scaled = scaled_gradient(x)
    assert scaled[[0, 2]].flatten(1).amin(1).tolist() == [0, 0]
    assert scaled[[0, 2]].flatten(1).amax(1).tolist() == [1, 1]
    assert (scaled[1] == 0).all()
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(scaled_gradient(x).square().sum(), x)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("beyond", [True, False])
@pytest.mark.parametrize(
    ("size", "block", "overlap"), [((32, 32), None, None), ((33, 47), 8, 3), ((80, 99), None, None)]
)
def test_means_of_windows(size, block, overlap, beyond, generator):
    maps = torch.rand(2, 3, *size, generator=generator, dtype=torch.float64)
    windows = windows_over(maps.shape, block, overlap, beyond=beyond)
    missing = [max(0, end - side) for end, side in zip(windows.covered, size, strict=True)]
    assert beyond or not any(missing)
    padded = np.pad(maps.numpy(), [(0, 0), (0, 0), *((0, m) for m in missing)], mode="reflect")
    starts = [range(0, count * windows.stride, windows.stride) for count in (windows.rows, windows.columns)]
    wanted = [
        [padded[:, :, i : i + windows.block, j : j + windows.block].mean((1, 2, 3)) for j in starts[1]]
        for i in starts[0]
    ]
    np.testing.assert_allclose(windows.means(maps)[:, 0].numpy(), np.moveaxis(np.array(wanted), -1, 0), atol=1e-12)


def test_windows_that_do_not_fit_raise():
    with pytest.raises(ValueError, match=r"LGS: block 15 with overlap 5 does not fit images \(1, 3, 12, 40\)"):
        windows_over(torch.Size((1, 3, 12, 40)), 15, None, what="LGS")
    with pytest.raises(ValueError, match="2 x 2 pixels"):
        windows_over(torch.Size((1, 3, 1, 40)), None, None)
