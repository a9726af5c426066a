"""Random resizing and padding: sizes, places, draws."""

import pytest
import torch
import torch.nn.functional as F

from blurnet.transforms.random_resize_pad import RandomResizePad, resize_pad


def test_by_hand(noise):
    out = resize_pad(noise, (25, 33), (30, 40), (2, 6), value=0.5)
    assert out.shape == (2, 3, 30, 40)
    assert torch.equal(out[..., 2:27, 6:39], F.interpolate(noise, (25, 33), mode="nearest"))
    out[..., 2:27, 6:39] = 0.5
    assert (out == 0.5).all()


def test_the_papers_sizes():
    """299 to a canvas of 331, sizes 299 to 330, every place that fits."""
    transform = RandomResizePad()
    x = torch.ones(1, 1, 299, 299)
    sizes, corners = set(), []
    for _ in range(200):
        out = transform(x)[0, 0]
        assert out.shape == (331, 331)
        rows = out.amax(1).nonzero()
        sizes.add(len(rows))
        corners.append(int(rows[0]))
        assert int(rows[0]) + len(rows) <= 331
    assert min(sizes) >= 299
    assert max(sizes) <= 330
    assert len(sizes) > 25
    assert min(corners) == 0
    assert max(corners) > 20


def test_shrinking_keeps_the_size(noise):
    transform = RandomResizePad(1.5, grow=False, interpolation="bilinear")
    shares = {float((transform(torch.ones(1, 1, 30, 45)) > 0).float().mean()) for _ in range(20)}
    assert len(shares) > 3
    assert min(shares) >= 0.4
    assert transform(noise).shape == noise.shape


def test_draws_are_the_same_for_a_batch_and_repeat(noise):
    first, second = RandomResizePad(seed=4), RandomResizePad(seed=4)
    for _ in range(3):
        assert torch.equal(first(noise)[1:], second(noise[1:]))
    assert not torch.equal(first(noise), first(noise))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_gradient(noise, interpolation):
    x = noise[:1, :1, :5, :6].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda t: resize_pad(t, (7, 8), (9, 9), (1, 0), interpolation), (x,))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"ratio": 1.0}, "ratio"), ({"interpolation": "cubic"}, "nearest"), ({"value": 2.0}, "value")],
)
def test_bad_settings_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        RandomResizePad(**settings)


def test_leaving_the_canvas_raises(noise):
    for size, corner in (((31, 31), (0, 0)), ((20, 31), (11, 0)), ((20, 31), (-1, 0)), ((0, 31), (0, 0))):
        with pytest.raises(ValueError, match="leaves the canvas"):
            resize_pad(noise, size, (30, 40), corner)
