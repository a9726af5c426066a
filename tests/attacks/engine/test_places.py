"""Places: every one of a small image, a covering grid of a large one, the steepest first."""

import pytest
import torch

from blurnet.attacks.engine.places import covering_grid, steepest
from blurnet.masks import box_masks, grid_boxes


def test_every_place_of_a_small_image():
    assert torch.equal(covering_grid((32, 32), 7, 26), grid_boxes((32, 32), 7))
    assert len(covering_grid((32, 32), 7, 26)) == 676


@pytest.mark.parametrize("size", [(33, 33), (64, 48), (224, 224), (50, 299)])
def test_a_covering_grid_of_a_large_one(size):
    boxes = covering_grid(size, 14, 26)
    assert len(boxes) <= 676
    assert box_masks(size, boxes).amax(dim=0).all()  # no pixel is out of reach
    assert len(covering_grid(size, 14, 2)) <= 4


def test_the_steepest_windows_come_first():
    gradient = torch.randn(3, 3, 12, 10, generator=torch.Generator().manual_seed(0)) * 1e-25
    grid = grid_boxes((12, 10), (4, 3), 2)
    sums = (gradient.double().square()[:, None] * box_masks((12, 10), grid)).flatten(2).sum(2)
    assert torch.equal(steepest(gradient, grid, 5), sums.topk(5).indices)
    assert steepest(gradient, grid, 999).shape == (3, len(grid))
