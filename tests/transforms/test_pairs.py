"""Weighted means over shifted copies, against a loop over all shifts."""

import itertools

import pytest
import torch

from blurnet.transforms._blocks import symmetric
from blurnet.transforms._pairs import Shift, add_pair, half_plane, halvings, squared_distance


@pytest.mark.parametrize("radius", [0, 1, 3])
def test_half_the_plane_and_its_opposite_are_the_plane(radius):
    half = list(half_plane(radius))
    side = range(-radius, radius + 1)
    assert sorted(half + [(-down, -across) for down, across in half] + [(0, 0)]) == sorted(
        itertools.product(side, side)
    )
    assert all(down >= 0 for down, _ in half)


def test_pairs_give_what_a_loop_over_all_shifts_gives():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 4, 6, generator=generator, dtype=torch.float64)
    radius, height, width = 2, 4, 6
    padded = symmetric(x, radius, radius)
    factors = {shift: float(torch.rand((), generator=generator)) for shift in itertools.product(range(-2, 3), repeat=2)}
    factors[1, -1] = 0.0  # one end of a pair may weigh nothing
    total, weights = torch.zeros_like(x), torch.zeros_like(x[:, :1])
    for down, across in half_plane(radius):
        shift = Shift(down, across, factors[down, across], factors[-down, -across])
        add_pair((total, weights), padded, radius, shift, lambda a, b: (-squared_distance(a, b)).exp(), 0)
    wanted, wanted_weights = torch.zeros_like(x), torch.zeros_like(x[:, :1])
    for (down, across), factor in factors.items():
        if (down, across) != (0, 0):
            top, left = radius + down, radius + across
            other = padded[..., top : top + height, left : left + width]
            weight = factor * (-(x - other).square().sum(1, keepdim=True)).exp()
            wanted, wanted_weights = wanted + weight * other, wanted_weights + weight
    torch.testing.assert_close(total, wanted)
    torch.testing.assert_close(weights, wanted_weights)


def test_a_weight_may_look_further_than_its_result():
    """A halo of one: the weight is the mean likeness of 3 x 3 pixels."""
    x = torch.rand(1, 1, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    padded = symmetric(x, 2, 2)

    def weight(near, far):
        return torch.nn.functional.avg_pool2d(squared_distance(near, far), 3, stride=1)

    sums = torch.zeros_like(x), torch.zeros_like(x)
    add_pair(sums, padded, 2, Shift(0, 1, 1.0, 0.0), weight, 1)
    for i, j in itertools.product(range(5), range(5)):
        here, there = padded[0, 0, i + 1 : i + 4, j + 1 : j + 4], padded[0, 0, i + 1 : i + 4, j + 2 : j + 5]
        wanted = (here - there).square().mean()
        torch.testing.assert_close(sums[1][0, 0, i, j], wanted)
        torch.testing.assert_close(sums[0][0, 0, i, j], wanted * padded[0, 0, i + 2, j + 3])


def test_halvings():
    found = halvings(torch.tensor([0.0, 1.0, 3.5, 100.0, 1000.0]))
    assert found.tolist() == pytest.approx([1, 0.5, 2**-3.5, 2.0**-100, 2.0**-100], rel=1e-6)
