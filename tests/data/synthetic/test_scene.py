"""Photographs of painted signs."""

import torch

from blurnet.data.synthetic.draws import keys
from blurnet.data.synthetic.scene import render


def test_rendering_leaves_global_randomness_alone() -> None:
    before = torch.get_rng_state()
    images, masks = render(keys(0, 0, torch.arange(2)), torch.tensor([13, 4]), 32)
    assert torch.equal(before, torch.get_rng_state())
    assert images.shape == (2, 3, 32, 32)
    assert masks.shape == (2, 1, 32, 32)
