"""Wavelet shrinkage against scikit-image and PyWavelets."""

import builtins

import numpy as np
import pytest
import torch

from blurnet.transforms.wavelet import Wavelet, wavelet_denoise

SETTINGS = [
    {},
    {"mode": "hard"},
    {"method": "VisuShrink"},
    {"method": "VisuShrink", "mode": "hard", "sigma": 0.04},
    {"wavelet": "db2"},
    {"wavelet": "sym4", "sigma": 0.1},
    {"ycbcr": False},
    {"ycbcr": False, "levels": 2, "sigma": 0.05},
]


def scikit_images(x: torch.Tensor, ycbcr: bool = True, levels: int | None = None, **settings: object) -> torch.Tensor:
    denoise = pytest.importorskip("skimage.restoration").denoise_wavelet
    images = x.movedim(1, -1).numpy()
    out = [denoise(i, convert2ycbcr=ycbcr, wavelet_levels=levels, channel_axis=-1, **settings) for i in images]
    return torch.from_numpy(np.stack(out)).movedim(-1, 1).clamp(0, 1)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_equals_scikit_image(noise, settings):
    for x in (noise, torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))):
        torch.testing.assert_close(wavelet_denoise(x, **settings), scikit_images(x, **settings), rtol=0, atol=1e-4)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_equals_scikit_image_on_photos(photos, settings):
    """Which details of an 8-bit image in YCbCr are exactly 0 depends on the rounding of a matrix product."""
    error = (wavelet_denoise(photos, **settings) - scikit_images(photos, **settings)).abs()
    assert error.mean() < 1e-3
    if not settings.get("ycbcr", True) or "sigma" in settings:
        assert error.max() < 1e-4


def test_without_noise_nothing_changes(noise):
    for wavelet in ("db1", "db3"):
        torch.testing.assert_close(wavelet_denoise(noise, sigma=0.0, wavelet=wavelet), noise, rtol=0, atol=2e-6)


def test_flat_and_tiny_images():
    for x in (torch.zeros(1, 3, 8, 8), torch.full((1, 3, 9, 7), 0.4), torch.rand(1, 3, 1, 1), torch.ones(1, 3, 2, 5)):
        assert wavelet_denoise(x).isfinite().all()
    flat = torch.full((1, 3, 9, 7), 0.4)
    torch.testing.assert_close(wavelet_denoise(flat), flat)


@pytest.mark.parametrize("settings", [{}, {"method": "VisuShrink"}, {"wavelet": "db2", "ycbcr": False}], ids=str)
def test_gradient(noise, settings):
    x = noise[:1, :, :6, :7].double().mul(0.5).add(0.25).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: wavelet_denoise(t, **settings), (x,))


def test_gray_images_have_no_colours(noise):
    with pytest.raises(ValueError, match="3"):
        wavelet_denoise(noise[:, :1])
    assert wavelet_denoise(noise[:, :1], ycbcr=False).shape == noise[:, :1].shape


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "SureShrink"}, "VisuShrink"),
        ({"mode": "firm"}, "soft"),
        ({"sigma": -1.0}, "sigma"),
        ({"levels": 0}, "levels"),
        ({"wavelet": "bior2.2"}, "orthogonal"),
        ({"wavelet": "none"}, "orthogonal"),
    ],
)
def test_bad_settings_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        Wavelet(**settings)


def test_other_wavelets_need_pywavelets(monkeypatch, noise):
    actual = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "pywt":
            raise ImportError(name)
        return actual(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    wavelet_denoise(noise)
    with pytest.raises(ImportError, match=r"blurnet\[transforms\]"):
        wavelet_denoise(noise, wavelet="db2")
