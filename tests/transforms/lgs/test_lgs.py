"""Local gradients smoothing against an independent reading, at the borders, and as a module."""

import copy

import numpy as np
import pytest
import torch

from blurnet.transforms.lgs.lgs import LGS, lgs
from tests.transforms.lgs.reading import READINGS, SETTINGS, image, reading


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))
@pytest.mark.parametrize("variant", READINGS, ids=lambda v: "-".join(v.values()))
@pytest.mark.parametrize("size", [(33, 47), (15, 40)], ids=str)
def test_equals_the_independent_reading(size, variant, settings):
    x = image(2, 3, *size)
    wanted = np.stack([reading(one, **settings, **variant) for one in x.numpy()])
    result = lgs(x, **settings, **variant)
    assert not torch.equal(result, x)
    np.testing.assert_allclose(result.numpy(), wanted, atol=1e-12)


def test_averaging_the_kept_windows_is_their_union():
    """As the code that the author's page links merges them."""
    x = image(1, 3, 40, 40)[0].numpy()
    np.testing.assert_allclose(reading(x, "average", **SETTINGS[0]), reading(x, "union", **SETTINGS[0]), atol=1e-12)


@pytest.mark.parametrize("padding", ["reflect", "none"])
@pytest.mark.parametrize(("size", "strip"), [(299, 4), (224, 9), (32, 7)])
def test_the_strip_that_whole_windows_leave(size, strip, padding):
    """Noise there escapes the published reading, and not this one."""
    noise = torch.rand(3, size, strip, generator=torch.Generator().manual_seed(1))
    for turned in (False, True):
        x = torch.full((1, 3, size, size), 0.5)
        x[..., -strip:] = noise
        x = x.transpose(-1, -2).contiguous() if turned else x
        out = lgs(x, block=15, overlap=5, padding=padding)
        out, x = (out.transpose(-1, -2), x.transpose(-1, -2)) if turned else (out, x)
        if padding == "none":
            assert torch.equal(out[..., -strip:], x[..., -strip:])
        else:
            assert out[..., -strip:].mean() < 0.6 * noise.mean()


@pytest.mark.parametrize("size", [32, 224, 299])
def test_noise_at_every_border_is_attenuated(size):
    patch = max(4, size // 8)
    noise = torch.rand(3, patch, patch, generator=torch.Generator().manual_seed(1))
    last = size - patch
    for top, left in ((0, 0), (0, last), (last, 0), (last, last), (size // 2, last)):
        x = torch.full((1, 3, size, size), 0.5)
        window = np.s_[..., top : top + patch, left : left + patch]
        x[window] = noise
        assert lgs(x)[window].mean() < 0.5 * noise.mean()


def test_some_windows_are_kept_and_some_are_not():
    x = image(1, 3, 64, 64)
    same = lgs(x, threshold=0.2) == x
    assert not same[..., 5:15, 50:60].all()
    assert same[..., 40:, :20].all()


@pytest.mark.parametrize("variant", READINGS[::2], ids=lambda v: "-".join(v.values()))
def test_a_flat_image_and_no_smoothing_are_unchanged(variant):
    flat = torch.full((2, 3, 20, 20), 0.3, requires_grad=True)
    out = lgs(flat, **variant)
    assert torch.equal(out, flat)
    (gradient,) = torch.autograd.grad(out.sum(), flat)
    assert torch.equal(gradient, torch.ones_like(flat))
    x = image(1, 3, 32, 32)
    assert torch.equal(lgs(x, smoothing=0, **variant), x)


def test_rounding_errors_are_not_stretched_over_the_whole_range():
    ramp = (torch.arange(40) / 97).expand(1, 3, 40, 40)
    for stencil in ("forward", "central"):
        assert torch.equal(lgs(ramp, stencil=stencil), ramp)


def test_gray_images_and_any_number_of_channels():
    x = image(2, 1, 32, 32)
    assert torch.equal(lgs(x), lgs(x, maps="channel"))
    assert torch.equal(lgs(x.expand(2, 5, 32, 32))[:, :1], lgs(x.expand(2, 5, 32, 32))[:, 4:])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_computes_in_single(dtype):
    x = image(2, 3, 32, 32).to(dtype).requires_grad_()
    out = lgs(x)
    assert out.dtype == dtype
    assert torch.equal(out, lgs(x.detach().float()).to(dtype))
    assert torch.autograd.grad(out.float().sum(), x)[0].isfinite().all()


# The module


def test_module_equals_function():
    x = image(2, 3, 32, 32).float()
    module = LGS(1.7, block=7, overlap=3, threshold=0.2, maps="channel", stencil="sobel", padding="none", low_pass=5)
    wanted = lgs(x, 1.7, 7, 3, 0.2, maps="channel", stencil="sobel", padding="none", low_pass=5)
    assert torch.equal(module(x), wanted)
    assert torch.equal(copy.deepcopy(module)(x), wanted)
    assert module.state_dict() == {}
    for text in ("block=7", "stencil='sobel'", "low_pass=5"):
        assert text in repr(module)


def test_a_trainable_one_learns_smoothing_and_threshold():
    x = image(4, 3, 32, 32).float()
    module = LGS(1.0, block=8, overlap=2, threshold=0.3, trainable=True)
    assert torch.equal(module(x), lgs(x, 1.0, 8, 2, 0.3))
    assert set(module.state_dict()) == {"smoothing", "threshold"}
    with torch.no_grad():
        wanted = lgs(x, 2.0, 8, 2, 0.1)
    adam = torch.optim.Adam(module.parameters(), lr=0.05)
    losses = []
    for _ in range(100):
        loss = (module(x) - wanted).square().sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]
    assert 1.7 < float(module.smoothing.detach()) < 2.3
    assert float(module.threshold.detach()) < 0.25
    assert "trainable=True" in repr(module)
    with torch.no_grad():
        module.smoothing.fill_(-1)
    assert torch.equal(module(x), x)


def test_the_low_pass_stays_inside_the_kept_windows():
    x = image(1, 3, 64, 64)
    plain, passed = (lgs(x, threshold=0.2, low_pass=size) for size in (0, 5))
    assert torch.equal(plain == x, passed == x)
    inside = np.s_[..., 3:18, 46:61]
    assert lgs(x, 1e-9, threshold=0.2, low_pass=5)[inside].std() < 0.7 * x[inside].std()
    assert passed.max() <= 1


@pytest.mark.parametrize(
    "x",
    [
        torch.rand(3, 32, 32),
        torch.rand(1, 3, 32, 32) * 2,
        torch.full((1, 3, 9, 9), float("nan")),
        torch.rand(1, 3, 1, 9),
        torch.rand(1, 3, 1, 1),
        torch.rand(0, 3, 9, 9),
    ],
    ids=lambda x: str(tuple(x.shape)),
)
@pytest.mark.parametrize("gate", ["hard", "soft"])
def test_bad_images_raise(x, gate):
    with pytest.raises(ValueError, match=r"images"):
        lgs(x, gate=gate)
    with pytest.raises(TypeError, match="images"):
        lgs(torch.zeros(1, 3, 9, 9, dtype=torch.uint8), gate=gate)
