"""Borders, range and blocks that the transformations share."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from blurnet.transforms._blocks import by_blocks, prepare, reflect, rounded_into_range, side_by_side, symmetric


@pytest.mark.parametrize("border", [0, 1, 3, 9, 20])
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 3), (8, 7)], ids=str)
def test_borders_equal_numpy(border, size):
    x = torch.rand(2, 3, *size)
    pads = [(0, 0), (0, 0), (border, border), (border, border)]
    assert np.array_equal(symmetric(x, border, border).numpy(), np.pad(x.numpy(), pads, mode="symmetric"))
    assert np.array_equal(reflect(x, border).numpy(), np.pad(x.numpy(), pads, mode="reflect"))


def test_blocks_give_what_the_whole_gives():
    x, sizes = torch.rand(7, 3, 5, 5), []
    numbers = -(-150 // torch.get_num_threads())  # two images in all

    def double(part: torch.Tensor) -> torch.Tensor:
        sizes.append(len(part))
        return 2 * part

    assert torch.equal(by_blocks(double, x, numbers=numbers), 2 * x)
    assert sizes == [2, 2, 2, 1]
    sizes.clear()
    by_blocks(double, x.requires_grad_(), numbers=numbers)
    assert sizes == [7]


def test_blocks_are_checked():
    x = torch.rand(7, 3, 5, 5)
    x[-1, 0, 0, 0] = 2
    with pytest.raises(ValueError, match="images"):
        by_blocks(torch.neg, x, numbers=75)


def test_rounding_is_cut_off_and_gradients_pass():
    x = torch.tensor([[1.0000001, 0.5, -1e-8]], requires_grad=True)
    out = rounded_into_range(x, torch.float32)
    assert out.tolist() == [[1.0, 0.5, 0.0]]
    assert torch.autograd.grad(out.sum(), x)[0].tolist() == [[1.0, 1.0, 1.0]]


def test_half_precision_is_worked_on_in_single():
    assert prepare(torch.rand(1, 3, 2, 2).bfloat16()).dtype == torch.float32
    assert prepare(torch.rand(1, 3, 2, 2).double()).dtype == torch.float64


def test_side_by_side_leaves_the_number_of_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert side_by_side(lambda i: (i, torch.get_num_threads()), 5) == [(i, 1) for i in range(5)]
        assert side_by_side(lambda i: torch.get_num_threads(), 1) == [3]
        with pytest.raises(ZeroDivisionError):
            side_by_side(lambda i: 1 // i, 4)
        assert torch.get_num_threads() == 3
        x = torch.rand(5, 2, 4, 4)
        with torch.inference_mode():
            assert torch.equal(by_blocks(lambda part: part * 2, x.clone(), numbers=32), 2 * x)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)
