import pytest
import torch
import torch.nn.functional as F

from blurnet.data.augment import augment


def source(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    return torch.rand(64, 3, 8, 8, generator=source(9))


def test_range_shape_and_input_untouched(images):
    before = images.clone()
    out = augment(images, source(), noise=0.5)
    assert out.shape == images.shape
    assert 0 <= out.min() <= out.max() <= 1
    assert torch.equal(images, before)


def test_nothing_asked_nothing_changed(images):
    assert torch.equal(augment(images, source(), brightness=0, shift=0, noise=0), images)


def test_the_generator_decides(images):
    assert torch.equal(augment(images, source(1), noise=0.1), augment(images, source(1), noise=0.1))
    assert not torch.equal(augment(images, source(1)), augment(images, source(2)))


def test_shifts_replicate_the_border_and_reach_every_place(images):
    out = augment(images, source(), brightness=0, shift=2)
    padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
    moves = set()
    for i in range(len(images)):
        found = [
            (dy, dx)
            for dy in range(5)
            for dx in range(5)
            if torch.equal(out[i], padded[i, :, dy : dy + 8, dx : dx + 8])
        ]
        assert len(found) == 1
        moves.add(found[0])
    assert {dy for dy, _ in moves} == set(range(5)) == {dx for _, dx in moves}


def test_brightness_is_one_factor_an_image():
    flat = torch.full((200, 3, 4, 4), 0.5)
    out = augment(flat, source(), brightness=0.3, shift=0)
    assert torch.equal(out, out[:, :1, :1, :1].expand_as(out))
    factor = out[:, 0, 0, 0] / 0.5
    assert 0.7 <= factor.min() < 0.75
    assert 1.25 < factor.max() <= 1.3


def test_noise_has_the_asked_spread():
    flat = torch.full((16, 3, 32, 32), 0.5)
    out = augment(flat, source(), brightness=0, shift=0, noise=0.1)
    assert out.std().item() == pytest.approx(0.1, rel=0.02)


def test_crops_are_rectangles_of_the_image():
    down, right = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    ramps = torch.stack([down, right, torch.zeros(64, 64)]).repeat(200, 1, 1, 1)
    out = augment(ramps, source(), brightness=0, shift=0, crop=0.08)
    assert torch.equal(out, augment(ramps, source(), brightness=0, shift=0, crop=0.08))
    # A ramp stays a ramp: what it spans is the rectangle's height or width, as a share of the image's.
    height = out[:, 0, -1].mean(1) - out[:, 0, 0].mean(1)
    width = out[:, 1, :, -1].mean(1) - out[:, 1, :, 0].mean(1)
    area, ratio = height * width, width / height
    assert 0.06 < area.min() < 0.2
    assert 0.8 < area.max() <= 1.0
    assert 0.7 < ratio.min() < 0.85
    assert 1.2 < ratio.max() < 1.4
    assert out[:, 0].std(dim=-1).max() < 1e-5  # no rotation, no shear


def test_half_of_the_images_are_mirrored(images):
    out = augment(images, source(), brightness=0, shift=0, flip=True)
    mirrored = torch.isclose(out, images.flip(-1), atol=1e-5).flatten(1).all(1)
    kept = torch.isclose(out, images, atol=1e-5).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert 16 < mirrored.sum() < 48
