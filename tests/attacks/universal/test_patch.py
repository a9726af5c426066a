"""A finished patch, a value, on images."""

import pytest
import torch

from blurnet.attacks.universal.poses import Pose, Poses


def test_application_does_not_depend_on_the_batch(patch):
    images = torch.rand(9, 3, 20, 24, generator=torch.Generator().manual_seed(1))
    together = patch.apply(images, seed=2)
    assert torch.equal(together[4:5], patch.apply(images[4:5], seed=2))
    assert torch.equal(together.flip(0), patch.apply(images.flip(0), seed=2))
    assert not torch.equal(together, patch.apply(images, seed=3))
    changed = (together != images).any(1).flatten(1).float().mean(1)
    assert (changed > 0.08).all()
    assert (changed < 0.2).all()


def test_given_poses_are_taken(patch):
    images = torch.rand(2, 3, 16, 16)
    pose = Pose(*(torch.full((2,), v) for v in (0.0, 1.0, 8.0, 8.0, 1.0)))
    cover = torch.zeros(1, 16, 16)
    cover[:, 2:14, 2:14] = patch.mask
    wanted = images * (1 - cover)
    wanted[..., 2:14, 2:14] += patch.pixels * patch.mask
    torch.testing.assert_close(patch.apply(images, pose), wanted, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match=r"pose: expected fields of shape \(1,\)"):
        patch.apply(images[:1], pose)


def test_is_a_value(patch):
    assert repr(patch) == "Patch(12x12, target=3, area=0.1)"
    with pytest.raises(AttributeError):
        patch.target = 4
    images = torch.rand(2, 3, 16, 16, requires_grad=True)
    patch.apply(images, Poses(rotation=0)).sum().backward()
    assert 0 < images.grad.mean() < 1  # defenses are trained through it
