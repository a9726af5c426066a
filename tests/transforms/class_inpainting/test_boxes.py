"""Local maxima, their suppression, and boxes: against cases worked out by hand."""

import torch
from torch import Tensor

from blurnet.transforms.class_inpainting.boxes import box_mask, local_maxima


def one_map(height: int, width: int, values: dict[tuple[int, int], float]) -> Tensor:
    """(1, 1, h, w), 0 but for some cells."""
    maps = torch.zeros(1, 1, height, width)
    for cell, value in values.items():
        maps[0, 0][cell] = value
    return maps


def found(maps: Tensor, size: tuple[int, int], count: int = 3, separation: int = 0) -> list[list[int]]:
    return local_maxima(maps, size, count, separation)[0, 0].tolist()


def test_the_highest_come_first_and_slopes_do_not_count():
    maps = one_map(7, 7, {(1, 1): 0.5, (1, 2): 0.4, (4, 5): 0.9, (5, 5): 0.8, (6, 0): 0.7})
    assert found(maps, (7, 7)) == [[4, 5], [6, 0], [1, 1]]
    assert found(maps, (7, 7), count=1) == [[4, 5]]


def test_cells_are_given_by_their_middle_in_the_image():
    """A cell of 32 pixels: rows 32 to 63 have their middle at 48; a grid of 2 on 5 pixels: 1.25 and 3.75."""
    assert found(one_map(7, 7, {(1, 2): 1.0}), (224, 224), count=1) == [[48, 80]]
    assert found(one_map(2, 2, {(0, 1): 1.0}), (5, 5), count=1) == [[1, 3]]
    assert found(one_map(4, 2, {(3, 0): 1.0}), (64, 128), count=1) == [[56, 32]]
    assert found(one_map(1, 1, {(0, 0): 0.1}), (31, 33), count=1) == [[15, 16]]


def test_fewer_maxima_than_asked_for():
    assert found(one_map(5, 5, {(2, 2): 1.0}), (5, 5)) == [[2, 2], [-1, -1], [-1, -1]]
    assert found(torch.zeros(1, 1, 5, 5), (5, 5), count=1) == [[-1, -1]]


def test_suppression_counts_rows_and_columns():
    maps = one_map(9, 9, {(0, 0): 1.0, (0, 3): 0.9, (3, 3): 0.8, (8, 8): 0.1})
    assert found(maps, (9, 9), separation=2) == [[0, 0], [0, 3], [3, 3]]
    assert found(maps, (9, 9), separation=3) == [[0, 0], [8, 8], [-1, -1]]
    # The suppressed (0, 3) suppresses nothing: (0, 5) is near to it, but not to (0, 0).
    chain = one_map(9, 9, {(0, 0): 1.0, (0, 3): 0.9, (0, 5): 0.8})
    assert found(chain, (9, 9), separation=3) == [[0, 0], [0, 5], [-1, -1]]


def test_separation_is_in_pixels_of_the_image():
    maps = one_map(7, 7, {(0, 0): 1.0, (0, 2): 0.9})  # 64 pixels apart
    assert found(maps, (224, 224), separation=63)[1] == [16, 80]
    assert found(maps, (224, 224), separation=64)[1] == [-1, -1]


def test_equal_values_stay_apart_by_reading_order():
    assert found(torch.ones(1, 1, 3, 3), (3, 3), separation=1) == [[0, 0], [0, 2], [2, 0]]


def test_every_map_is_searched_alone():
    maps = torch.cat([one_map(5, 6, {(1, 1): 1.0}), one_map(5, 6, {(3, 4): 1.0})], 1)
    maps = torch.cat([maps, maps.flip(1)])
    assert local_maxima(maps, (5, 6), 1, 3).squeeze(2).tolist() == [[[1, 1], [3, 4]], [[3, 4], [1, 1]]]


def test_boxes_are_squares_cut_off_at_the_border():
    mask = box_mask(torch.tensor([[[[2, 3], [-1, -1]]], [[[0, 6], [5, 0]]]]), 1, (6, 7))
    assert mask.shape == (2, 1, 6, 7)
    wanted = torch.zeros(2, 6, 7)
    wanted[0, 1:4, 2:5] = 1
    wanted[1, 0:2, 5:7] = 1
    wanted[1, 4:6, 0:2] = 1
    assert torch.equal(mask[:, 0], wanted)


def test_a_box_without_reach_is_a_pixel_and_overlaps_count_once():
    assert box_mask(torch.tensor([[[1, 1]]]), 0, (3, 3)).sum() == 1
    mask = box_mask(torch.tensor([[[4, 4], [4, 6]]]), 3, (20, 20))
    assert mask.unique().tolist() == [0, 1]
    assert mask.sum() == 7 * 9


def test_no_box_at_all():
    assert box_mask(torch.full((2, 5, 3, 2), -1), 3, (8, 8)).sum() == 0
