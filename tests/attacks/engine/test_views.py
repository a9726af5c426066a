"""Transformations: where pixels go, what is drawn, gradients."""

import pytest
import torch
from torch import Tensor

from blurnet.attacks.engine.views import TRANSFORMATIONS, Brightness, Crop, Noise, Perspective, Resize, Rotation

IDENTITIES = [Rotation(0), Crop(0), Resize(1, 1), Perspective(0), Brightness(1, 1), Noise(0)]
each = pytest.mark.parametrize("make", TRANSFORMATIONS.values(), ids=TRANSFORMATIONS)


def image(n: int = 2, c: int = 3, h: int = 12, w: int = 16) -> Tensor:
    return torch.rand(n, c, h, w, generator=torch.Generator().manual_seed(0))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@each
def test_shape_randomness_and_finiteness(make):
    x = image()
    out = make()(x, seeded())
    assert out.shape == x.shape
    assert out.isfinite().all()
    assert torch.equal(out, make()(x, seeded()))
    assert not torch.equal(out, make()(x, seeded(1)))
    same = x[:1].expand_as(x)
    two = make()(same, seeded())
    assert not torch.equal(two[0], two[1])  # each image is moved by itself


@each
def test_targets_side_by_side_are_moved_alike(make):
    """Channels that repeat an image stay equal: no draw depends on the number of channels."""
    x = image()
    once, thrice = make()(x, seeded()), make()(x.repeat(1, 3, 1, 1), seeded())
    for part in thrice.split(3, dim=1):
        torch.testing.assert_close(part, once)


@pytest.mark.parametrize("move", IDENTITIES, ids=repr)
def test_identity_at_zero_strength(move):
    torch.testing.assert_close(move(image(), seeded()), image(), atol=1e-5, rtol=0)


@each
def test_differentiable(make):
    x = image(1, 2, 5, 6).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda t: make()(t, seeded()), (x,))


@pytest.mark.parametrize("size", [(9, 9), (9, 15)], ids=str)
def test_a_quarter_turn_is_a_quarter_turn_in_pixels(size, monkeypatch):
    monkeypatch.setattr("blurnet.attacks.engine.views._uniform", lambda x, *_: torch.full((len(x),), 90.0).to(x))
    x = torch.zeros(1, 1, *size)
    middle = (size[0] // 2, size[1] // 2)
    x[0, 0, middle[0] - 3, middle[1]] = 1
    out = Rotation(90)(x, seeded())[0, 0]
    side = {(middle[0], middle[1] - 3), (middle[0], middle[1] + 3)}
    assert tuple(divmod(int(out.argmax()), size[1])) in side
    torch.testing.assert_close(out.max(), torch.tensor(1.0), atol=1e-4, rtol=0)


def test_resize_scales_about_the_centre():
    x = torch.zeros(1, 1, 16, 16)
    x[..., 6:10, 6:10] = 1
    assert Resize(2, 2)(x, seeded()).sum().item() == pytest.approx(64, rel=0.02)
    assert Resize(0.5, 0.5)(x, seeded()).sum().item() == pytest.approx(4, rel=0.02)


def test_crop_keeps_the_named_share():
    ramp = torch.linspace(0, 1, 101).expand(1, 1, 101, 101)
    for seed in range(5):
        out = Crop(0.2)(ramp, seeded(seed))
        assert 0 <= out.min() <= 0.21
        assert 0.79 <= out.max() <= 1
        assert (out.diff(dim=-1) >= -1e-6).all()  # never mirrored


def test_perspective_moves_a_corner_by_its_share():
    ramp = torch.linspace(0, 1, 101).expand(50, 1, 101, 101)
    out = Perspective(0.1)(ramp, seeded())
    shift = (out[:, 0, 0, 100] - 1).abs()
    assert shift.max() <= 0.11
    assert (out[:, 0, 0, 0] <= 0.11).all()
    assert out[:, 0, 0, 0].std() > 0.01


def test_brightness_and_noise_levels():
    ones = torch.ones(200, 3, 8, 8)
    out = Brightness(0.5, 1.5)(ones, seeded())
    assert (out == out[:, :1, :1, :1]).all()
    assert 0.5 <= out.min() < 0.55
    assert 1.45 < out.max() <= 1.5
    noise = Noise(0.3)(ones, seeded()) - 1
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)
    assert Noise(0.3)(torch.ones(2, 1, 4, 4), seeded()).shape == (2, 1, 4, 4)
