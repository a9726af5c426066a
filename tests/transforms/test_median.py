"""The median filter against scipy."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from blurnet.transforms.median import Median, median


def scipys(x: torch.Tensor, size: int) -> torch.Tensor:
    return torch.from_numpy(ndimage.median_filter(x.numpy(), (1, 1, size, size)))


@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_equals_scipy_bit_for_bit(noise, size):
    for x in (noise, noise.double(), noise[:, :1, :2, :5], noise[..., :1, :1]):
        assert torch.equal(median(x, size), scipys(x, size))


def test_equals_scipy_on_photos(photos):
    assert torch.equal(median(photos), scipys(photos, 3))


def test_with_gradient_the_values_are_the_same(noise):
    for size in (3, 5):
        assert torch.equal(median(noise.clone().requires_grad_(), size), median(noise, size))


def test_each_value_sends_its_gradient_to_one_pixel(noise):
    x = noise.clone().requires_grad_()
    for size in (3, 5):
        out = median(x, size)
        row, column = 9, 14
        (gradient,) = torch.autograd.grad(out[0, 1, row, column], x)
        (place,) = gradient.nonzero().tolist()
        assert gradient.sum() == 1
        assert x[tuple(place)] == out[0, 1, row, column]
        assert max(abs(place[2] - row), abs(place[3] - column)) <= size // 2


def test_removes_specks_and_keeps_edges():
    x = torch.zeros(1, 1, 9, 9)
    x[..., 5:] = 1
    speckled = x.clone()
    speckled[0, 0, 4, 2] = 1
    assert torch.equal(median(speckled), x)


def test_half_precision(noise):
    assert torch.equal(median(noise.bfloat16()), median(noise.bfloat16().float()).bfloat16())


@pytest.mark.parametrize(
    ("size", "error"), [(0, ValueError), (2, ValueError), (-3, ValueError), (3.0, TypeError), (True, TypeError)]
)
def test_bad_sizes_raise(size, error):
    with pytest.raises(error, match="Median size"):
        Median(size)


def test_matches_numpy_of_a_window(noise):
    assert median(noise, 5)[1, 2, 8, 9] == np.median(noise[1, 2, 6:11, 7:12].numpy())
