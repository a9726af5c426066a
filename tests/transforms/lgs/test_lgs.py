"""Local gradients smoothing against an independent reading, at the borders, and in its gradients."""

import copy
import itertools
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import nn

from blurnet.transforms.lgs import fast as lgs_fast
from blurnet.transforms.lgs.formula import lgs_formula
from blurnet.transforms.lgs.lgs import LGS, lgs
from blurnet.transforms.lgs.settings import LGSSettings


def image(*shape: int, seed: int = 0) -> torch.Tensor:
    """Smooth double images in (0, 1) with a noisy corner, so that some windows are kept and some are not."""
    g = torch.Generator().manual_seed(seed)
    smooth = nn.functional.interpolate(torch.rand(*shape[:2], 3, 3, generator=g).double(), shape[2:], mode="bilinear")
    noise = torch.rand(*shape[:2], shape[2] // 3, shape[3] // 3, generator=g).double()
    smooth[..., : shape[2] // 3, -(shape[3] // 3) :] = noise
    return smooth * 0.9 + 0.05


def slopes(plane: np.ndarray, stencil: str) -> np.ndarray:
    """Eq. 5 of one plane (H, W) by numpy and scipy."""
    if stencil == "central":
        return np.hypot(*np.gradient(plane))
    if stencil == "sobel":
        return np.hypot(scipy.ndimage.sobel(plane, 0), scipy.ndimage.sobel(plane, 1))
    across, down = np.diff(plane, axis=1), np.diff(plane, axis=0)
    return np.hypot(np.hstack([across, across[:, -1:]]), np.vstack([down, down[-1:]]))


def reading(x: np.ndarray, merge: str = "union", **settings: Any) -> np.ndarray:
    """Eq. 5-8 for one image (C, H, W), window by window."""
    block, stride = settings["block"], settings["block"] - settings["overlap"]
    planes = [x.mean(0)] if settings.get("maps", "gray") == "gray" else list(x)
    size = np.stack([slopes(plane, settings.get("stencil", "forward")) for plane in planes])
    g = (size - size.min()) / (size.max() - size.min())
    if settings.get("padding", "reflect") == "reflect":
        missing = [-(length - block) % stride for length in g.shape[1:]]
        g = np.pad(g, [(0, 0), *((0, m) for m in missing)], mode="reflect")
    total, count, windows = np.zeros_like(g), np.zeros_like(g), 0
    for top in range(0, g.shape[1] - block + 1, stride):
        for left in range(0, g.shape[2] - block + 1, stride):
            window = np.s_[:, top : top + block, left : left + block]
            windows += 1
            if g[window].mean() > settings["threshold"]:
                total[window] += g[window]
                count[window] += 1
    kept = np.where(count > 0, g, 0) if merge == "union" else total / np.maximum(count, 1)
    kept = kept[:, : x.shape[1], : x.shape[2]]
    return x * (1 - np.clip(settings["smoothing"] * kept, 0, 1))


SETTINGS = [
    {"smoothing": 2.3, "block": 15, "overlap": 5, "threshold": 0.1},
    {"smoothing": 1.5, "block": 7, "overlap": 2, "threshold": 0.3},
    {"smoothing": 2.3, "block": 8, "overlap": 0, "threshold": 0.2},
    {"smoothing": 0.7, "block": 5, "overlap": 4, "threshold": 0.15},
]
READINGS = [
    {"maps": maps, "stencil": stencil, "padding": padding}
    for maps, stencil, padding in itertools.product(
        ("gray", "channel"), ("forward", "central", "sobel"), ("reflect", "none")
    )
]


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


@pytest.mark.parametrize("variant", READINGS, ids=lambda v: "-".join(v.values()))
@pytest.mark.parametrize("low_pass", [0, 3])
def test_the_formula_with_gradient_gives_the_same_numbers(variant, low_pass):
    x = image(2, 3, 47, 38)
    values = {"smoothing": 2.3, "block": 8, "overlap": 3, "threshold": 0.2, "temperature": 0.05, "gate": "hard"}
    settings = LGSSettings(**values, **variant, low_pass=low_pass)
    formula = lgs_formula(x, settings, settings.windows(x.shape))
    torch.testing.assert_close(formula, lgs_fast.lgs_fast(x, settings, settings.windows(x.shape)), rtol=0, atol=1e-12)


def test_chunks_do_not_change_the_numbers(monkeypatch):
    x = image(5, 3, 32, 40).float()
    whole = lgs(x)
    monkeypatch.setattr(lgs_fast, "CPU_CHUNK", 2 * 32 * 40)
    assert torch.equal(lgs(x), whole)
    x[4, 0, 0, 0] = 1.5  # in the last chunk
    with pytest.raises(ValueError, match="images"):
        lgs(x)


def test_default_windows_follow_the_size():
    for size, block, overlap in ((5, 2, 0), (32, 6, 2), (75, 15, 5), (224, 15, 5)):
        x = image(1, 3, size, size)
        assert torch.equal(lgs(x), lgs(x, block=block, overlap=overlap))


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


# Gradients


def test_gradcheck_with_the_exact_gate():
    x = image(1, 2, 9, 10, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: lgs(t, 1.3, 4, 1, 0.3, temperature=0), (x,))


@pytest.mark.parametrize("maps", ["gray", "channel"])
def test_gradcheck_of_the_soft_gate_and_of_what_is_learned(maps):
    x = image(1, 2, 9, 10, seed=3)
    x = (x * 0.9 + 0.05 * image(1, 2, 9, 10, seed=4)).requires_grad_()
    values = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.7, 0.3))

    def soft(t: torch.Tensor, smoothing: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
        return lgs(t, smoothing, 4, 1, threshold, 0.1, gate="soft", maps=maps, low_pass=3)

    assert torch.autograd.gradcheck(soft, (x, *values))


def test_the_soft_gate_becomes_the_hard_one():
    x = image(2, 3, 40, 40)
    hard = lgs(x, threshold=0.2)
    gaps = [
        float((lgs(x, threshold=0.2, temperature=t, gate="soft") - hard).abs().max()) for t in (0.1, 0.01, 1e-3, 1e-5)
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 0.05
    assert gaps[-1] < 1e-9


def test_the_gate_passes_a_gradient_straight_through():
    x = image(1, 3, 32, 32).requires_grad_()
    hard, through = lgs(x, temperature=0), lgs(x)
    assert torch.equal(hard, through)
    (a,) = torch.autograd.grad(hard.sum(), x)
    (b,) = torch.autograd.grad(through.sum(), x)
    assert a.isfinite().all()
    assert b.isfinite().all()
    assert not torch.equal(a, b)


def test_without_the_temperature_only_kept_windows_have_another_gradient_than_the_identity():
    x = image(1, 3, 64, 64).requires_grad_()
    out = lgs(x, threshold=0.2, temperature=0)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert (gradient[..., 40:, :20] == 1).all()
    assert (gradient[..., 5:15, 50:60] != 1).any()


def test_the_gates_part_of_the_gradient_opens_the_gate():
    """A step along it lets more light through the smooth gate than a step against it."""
    x = image(1, 3, 32, 32).requires_grad_()
    with_gate, without = (torch.autograd.grad(lgs(x, temperature=t).sum(), x)[0] for t in (0.05, 0))
    step = 1e-4 * (with_gate - without) / (with_gate - without).abs().max()
    ahead, back = (lgs(t.detach(), gate="soft").sum() for t in (x + step, x - step))
    assert ahead > back


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


BAD = [{"smoothing": -1}, {"smoothing": float("nan")}, {"threshold": -0.1}, {"temperature": -1}]
BAD += [{"block": 0}, {"overlap": -1}, {"block": 5, "overlap": 5}, {"low_pass": 2}, {"low_pass": -1}]
BAD += [{"maps": "rgb"}, {"stencil": "prewitt"}, {"padding": "zeros"}, {"gate": "open"}]
BAD += [{"gate": "soft", "temperature": 0}]


@pytest.mark.parametrize("settings", BAD, ids=str)
def test_bad_settings_raise(settings):
    name = "LGS low_pass" if "low_pass" in settings else "LGS"
    with pytest.raises(ValueError, match=name):
        LGS(**settings)
    with pytest.raises(ValueError, match=name):
        lgs(torch.rand(1, 3, 32, 32), **settings)


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


@pytest.mark.parametrize("settings", [{"block": 15}, {"block": 5, "low_pass": 25}, {"overlap": 2}], ids=str)
def test_windows_that_do_not_fit_the_image_raise(settings):
    with pytest.raises(ValueError, match=r"fit images \(1, 3, 12, 40\)"):
        lgs(torch.rand(1, 3, 12, 40), **settings)
