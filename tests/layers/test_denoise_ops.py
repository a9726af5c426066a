"""The denoising operations against direct formulas."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.layers.denoise_ops import bilateral, local_mean, local_median, non_local_dot, non_local_gaussian
from tests.layers.maps import problem

SIZES = [(3, 8, 5, 6), (6, 6, 7, 4), (8, 40, 3, 4)]  # D, C, H, W: fewer and more channels than positions


def scores(query: Tensor, key: Tensor) -> Tensor:
    """q_i . k_j for all pairs of positions, (N, HW, HW)."""
    return torch.einsum("ndi,ndj->nij", query.flatten(2), key.flatten(2))


def weighted(weights: Tensor, value: Tensor) -> Tensor:
    return torch.einsum("nij,ncj->nci", weights, value.flatten(2)).view_as(value)


def near(h: int, w: int, k: int) -> Tensor:
    """Which positions lie in the window around which, (HW, HW)."""
    y, x = (t.flatten() for t in torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"))
    return ((y[:, None] - y).abs() <= k // 2) & ((x[:, None] - x).abs() <= k // 2)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["default", "channels-last"])
def test_non_local_operations_equal_the_formulas(size, layout):
    query, key, value = (t.contiguous(memory_format=layout) for t in problem(*size))
    weights = (scores(query, key) / size[0] ** 0.5).softmax(dim=-1)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, size[2] * size[3], dtype=torch.float64))
    torch.testing.assert_close(non_local_gaussian(query, key, value), weighted(weights, value))
    dot = scores(query, key) / (size[2] * size[3])
    torch.testing.assert_close(non_local_dot(query, key, value), weighted(dot, value))


@pytest.mark.parametrize("k", [1, 3, 5])
def test_bilateral_equals_the_non_local_formula_inside_windows(k):
    query, key, value = problem(3, 8, 5, 6)
    window = near(5, 6, k)
    weights = (scores(query, key) / 3**0.5).masked_fill(~window, float("-inf")).softmax(dim=-1)
    torch.testing.assert_close(bilateral(query, key, value, k), weighted(weights, value))
    dot = (scores(query, key) * window) / window.sum(dim=-1, keepdim=True)
    torch.testing.assert_close(bilateral(query, key, value, k, softmax=False), weighted(dot, value))


def test_a_window_over_everything_is_non_local():
    maps = problem(3, 8, 5, 6)
    torch.testing.assert_close(bilateral(*maps, 11), non_local_gaussian(*maps))
    torch.testing.assert_close(bilateral(*maps, 11, softmax=False), non_local_dot(*maps))


def test_weights_sum_to_one():
    query, key, _ = problem(3, 8, 5, 6)
    ones = torch.ones(2, 8, 5, 6, dtype=torch.float64)
    for mean in (non_local_gaussian(query, key, ones), bilateral(query, key, ones), local_mean(ones)):
        torch.testing.assert_close(mean, ones)


def test_dot_divides_by_the_number_of_positions():
    ones = torch.ones(1, 4, 5, 6)
    torch.testing.assert_close(non_local_dot(ones, ones, ones), torch.full_like(ones, 4))
    torch.testing.assert_close(bilateral(ones, ones, ones, softmax=False), torch.full_like(ones, 4))


@pytest.mark.parametrize("operation", [non_local_gaussian, non_local_dot])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_non_local_operations_do_not_see_the_order_of_positions(operation, size):
    maps = problem(*size)
    order = torch.randperm(size[2] * size[3], generator=torch.Generator().manual_seed(1))
    shuffled = [t.flatten(2)[..., order].view_as(t) for t in maps]
    torch.testing.assert_close(operation(*shuffled).flatten(2), operation(*maps).flatten(2)[..., order])


def test_scales_of_the_operations():
    query, key, value = problem(3, 8, 5, 6)
    torch.testing.assert_close(non_local_gaussian(query, key, 3 * value), 3 * non_local_gaussian(query, key, value))
    torch.testing.assert_close(non_local_dot(2 * query, key, 3 * value), 6 * non_local_dot(query, key, value))
    torch.testing.assert_close(non_local_gaussian(4 * query, key, value), non_local_gaussian(query, 4 * key, value))


def test_mean_and_median_equal_loops():
    x = problem(3, 2, 5, 6)[2]
    repeated = F.pad(x, (1, 1, 1, 1), mode="replicate")
    for i in range(5):
        for j in range(6):
            window = x[..., max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].flatten(2)
            torch.testing.assert_close(local_mean(x)[..., i, j], window.mean(dim=-1))
            window = repeated[..., i : i + 3, j : j + 3].flatten(2)
            assert torch.equal(local_median(x)[..., i, j], window.median(dim=-1).values)
