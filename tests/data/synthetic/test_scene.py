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


def test_a_row_depends_on_its_key_and_class_alone() -> None:
    numbers, classes = keys(0, 0, torch.arange(4)), torch.tensor([13, 4, 13, 0])
    images, masks = render(numbers, classes, 24)
    assert 0 <= images.min() < images.max() <= 1
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    for i in range(4):
        alone = render(numbers[i : i + 1], classes[i : i + 1], 24)
        torch.testing.assert_close(alone[0][0], images[i], rtol=0, atol=1e-5)
        assert torch.equal(alone[1][0], masks[i])
    assert not torch.equal(images[0], images[2])
