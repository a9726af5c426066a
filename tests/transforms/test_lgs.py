"""Local gradients smoothing against a slow loop, at the borders, and in its gradients."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from blurnet.transforms.lgs import LGS, lgs


def image(*shape: int, seed: int = 0) -> torch.Tensor:
    """Smooth double images in (0, 1) with a noisy corner, so that some windows are kept and some are not."""
    g = torch.Generator().manual_seed(seed)
    smooth = nn.functional.interpolate(torch.rand(*shape[:2], 3, 3, generator=g).double(), shape[2:], mode="bilinear")
    smooth[..., : shape[2] // 3, -(shape[3] // 3) :] = torch.rand(1, generator=g).double()
    noise = torch.rand(*shape[:2], shape[2] // 3, shape[3] // 3, generator=g).double()
    smooth[..., : shape[2] // 3, -(shape[3] // 3) :] = noise
    return smooth * 0.9 + 0.05


def loop(x: np.ndarray, smoothing: float, block: int, overlap: int, threshold: float) -> np.ndarray:
    """One image (C, H, W), pixel by pixel and window by window."""
    gray = x.mean(0)
    h, w = gray.shape
    size = np.zeros((h, w))
    for i in range(h):
        for j in range(w):
            across = gray[i, j + 1] - gray[i, j] if j + 1 < w else gray[i, j] - gray[i, j - 1]
            down = gray[i + 1, j] - gray[i, j] if i + 1 < h else gray[i, j] - gray[i - 1, j]
            size[i, j] = np.hypot(across, down)
    size = (size - size.min()) / (size.max() - size.min())
    kept, seen = np.zeros((h, w)), np.zeros((h, w))
    stride = block - overlap
    for top in range(0, h, stride):
        for left in range(0, w, stride):
            window = np.s_[top : top + block, left : left + block]
            # A window whose every row or column the one before covers adds nothing.
            if (top > 0 and top - stride + block >= h) or (left > 0 and left - stride + block >= w):
                continue
            seen[window] = 1
            if size[window].mean() > threshold:
                kept[window] = size[window]
    assert seen.all()
    return x * (1 - np.clip(smoothing * kept, 0, 1))


@pytest.mark.parametrize(
    "settings", [(2.3, 15, 5, 0.1), (1.5, 7, 2, 0.3), (2.3, 8, 0, 0.2), (0.7, 5, 4, 0.15)], ids=str
)
@pytest.mark.parametrize("size", [(32, 32), (47, 61), (15, 40)], ids=str)
def test_equals_the_loop(size, settings):
    smoothing, block, overlap, threshold = settings
    x = image(2, 3, *size)
    wanted = np.stack([loop(one, *settings) for one in x.numpy()])
    np.testing.assert_allclose(lgs(x, smoothing, block, overlap, threshold).numpy(), wanted, atol=1e-12)


def test_default_windows_follow_the_size():
    for size, block, overlap in ((32, 8, 2), (60, 15, 5), (224, 15, 5)):
        x = image(1, 3, size, size)
        assert torch.equal(lgs(x), lgs(x, block=block, overlap=overlap))


def test_some_windows_are_kept_and_some_are_not():
    x = image(1, 3, 64, 64)
    same = lgs(x, threshold=0.2) == x
    assert not same[..., 5:15, 50:60].all()
    assert same[..., 40:, :20].all()


def test_a_flat_image_and_no_smoothing_are_unchanged():
    flat = torch.full((2, 3, 20, 20), 0.3, requires_grad=True)
    out = lgs(flat)
    assert torch.equal(out, flat)
    (gradient,) = torch.autograd.grad(out.sum(), flat)
    assert torch.equal(gradient, torch.ones_like(flat))
    # A ramp's gradient is constant but for rounding, which must not be stretched over [0, 1].
    ramp = (torch.arange(40) / 97).expand(1, 3, 40, 40)
    assert torch.equal(lgs(ramp), ramp)
    x = image(1, 3, 32, 32)
    assert torch.equal(lgs(x, smoothing=0), x)


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


def test_gradcheck_with_the_exact_gate():
    x = image(1, 2, 9, 10, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: lgs(t, 1.3, 4, 1, 0.3, temperature=0), (x,))


def test_the_gate_passes_a_gradient_straight_through():
    x = image(1, 3, 32, 32).requires_grad_()
    hard, soft = lgs(x, temperature=0), lgs(x)
    assert torch.allclose(hard, soft, atol=1e-12)
    (a,) = torch.autograd.grad(hard.sum(), x)
    (b,) = torch.autograd.grad(soft.sum(), x)
    assert a.isfinite().all()
    assert b.isfinite().all()
    assert not torch.equal(a, b)


def test_alone_equals_in_a_batch():
    x = image(4, 3, 32, 32).float()
    assert torch.equal(lgs(x), torch.cat([lgs(one[None]) for one in x]))


def test_module_equals_function():
    x = image(2, 3, 32, 32).float()
    module = LGS(1.7, block=7, overlap=3, threshold=0.2)
    assert torch.equal(module(x), lgs(x, 1.7, 7, 3, 0.2))
    assert torch.equal(copy.deepcopy(module)(x), module(x))
    assert module.state_dict() == {}
    assert "block=7" in repr(module)
    assert module(x).dtype == x.dtype
    assert module(x).min() >= 0
    assert module(x).max() <= 1


BAD = [{"smoothing": -1}, {"smoothing": float("nan")}, {"threshold": -0.1}, {"temperature": -1}]
BAD += [{"block": 0}, {"overlap": -1}, {"block": 5, "overlap": 5}]


@pytest.mark.parametrize("settings", BAD, ids=str)
def test_bad_settings_raise(settings):
    with pytest.raises(ValueError, match="lgs"):
        LGS(**settings)
    with pytest.raises(ValueError, match="lgs"):
        lgs(torch.rand(1, 3, 32, 32), **settings)


@pytest.mark.parametrize(
    "x",
    [
        torch.rand(3, 32, 32),
        torch.rand(1, 3, 32, 32) * 2,
        torch.full((1, 3, 9, 9), float("nan")),
        torch.rand(1, 3, 1, 9),
    ],
)
def test_bad_images_raise(x):
    with pytest.raises(ValueError, match=r"images"):
        lgs(x)


def test_a_block_larger_than_the_image_raises():
    with pytest.raises(ValueError, match="block 15"):
        lgs(torch.rand(1, 3, 12, 40), block=15)
