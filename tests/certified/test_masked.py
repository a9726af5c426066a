"""Masks and views of a masked model."""

import torch

from blurnet.certified.double_masking import DoubleMasking
from blurnet.certified.masked import MaskedSettings
from blurnet.masks import patch_side
from tests.certified.toys import images_for, random_net


def test_an_area_is_the_square_that_attacks_use():
    for size in ((32, 32), (224, 224), (30, 40)):
        masks = MaskedSettings(area=0.05).set_for(size)
        side = patch_side(size, 0.05)
        assert masks.threat.startswith(f"one {side}x{side}-pixel patch")


def test_images_of_several_sizes_have_masks_of_their_own():
    model = DoubleMasking(random_net(0), patch=2, masks=3)
    wanted = DoubleMasking(random_net(0), patch=2, masks=3)(images_for(2))
    model(torch.rand(1, 3, 12, 10))
    assert torch.equal(model(images_for(2)), wanted)
    assert model.mask_set_for((12, 10)).size == (12, 10)
