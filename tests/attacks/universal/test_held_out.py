"""The universal patch on images that it was not made from."""

import dataclasses

import pytest
import torch

from blurnet.attacks.universal.held_out import HeldOutPatch
from blurnet.masks import Place, mask_boxes
from tests.attacks.cases import HELD_OUT

ATTACK = HeldOutPatch(*HELD_OUT, area=0.15, steps=60)


def pasted(adversarial, images):
    """What stands in each image's box."""
    boxes = Place(0.15, "anywhere").boxes(images).tolist()
    return [x[:, top:bottom, left:right] for x, (top, bottom, left, right) in zip(adversarial, boxes, strict=True)]


def test_one_patch_at_each_images_own_place(problem):
    adversarial = ATTACK(problem.net, problem.images, problem.labels)
    patches = pasted(adversarial, problem.images)
    assert all(torch.equal(patch, patches[0]) for patch in patches)
    assert patches[0].shape == (3, 6, 6)
    changed = mask_boxes((adversarial != problem.images).any(1, keepdim=True))
    assert torch.equal(changed, Place(0.15, "anywhere").boxes(problem.images))
    assert len(changed.unique(dim=0)) > 2


def test_the_attacked_images_have_no_part_in_it(problem):
    whole = ATTACK(problem.net, problem.images, problem.labels)
    assert torch.equal(ATTACK(problem.net, problem.images[2:4], problem.labels[2:4]), whole[2:4])
    assert torch.equal(ATTACK(problem.net, problem.images, problem.labels.flip(0)), whole)
    images, labels = HELD_OUT
    other = dataclasses.replace(ATTACK, images=images[:9], labels=labels[:9])
    assert not torch.equal(other(problem.net, problem.images, problem.labels), whole)


def test_what_works_there_works_here(problem):
    """Trained, it moves more of the attacked images than gray squares in the same places."""
    answers = {}
    for steps in (0, 60):
        attack = dataclasses.replace(ATTACK, steps=steps)
        with torch.no_grad():
            seen = problem.net(attack(problem.net, problem.images, problem.labels)).argmax(1)
        answers[steps] = int((seen != problem.labels).sum())
    assert answers[60] > answers[0]


def test_settings_are_checked(problem):
    images, labels = HELD_OUT
    assert "area=0.15, target=None, steps=60" in repr(ATTACK)
    assert "tensor" not in repr(ATTACK)
    with pytest.raises(ValueError, match="HeldOutPatch labels"):
        HeldOutPatch(images, labels[:3])
    with pytest.raises(ValueError, match="HeldOutPatch images"):
        HeldOutPatch(images * 300, labels)
    with pytest.raises(ValueError, match="area"):
        HeldOutPatch(images, labels, area=1.5)
    with pytest.raises(ValueError, match=r"made on images \(3, 8, 8\), put on images \(3, 16, 16\)"):
        HeldOutPatch(images[..., :8, :8], labels, area=0.15)(problem.net, problem.images, problem.labels)
