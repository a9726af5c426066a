"""The Gaussian filter against scipy."""

import pytest
import torch
from scipy import ndimage

from blurnet.transforms.gaussian import Gaussian, gaussian_filter


def scipys(x: torch.Tensor, sigma: float, **settings: float) -> torch.Tensor:
    return torch.from_numpy(ndimage.gaussian_filter(x.numpy(), (0, 0, sigma, sigma), **settings))


@pytest.mark.parametrize("sigma", [0.4, 1.0, 3.3])
def test_equals_scipy(noise, sigma):
    for x in (noise, noise[:, :1, :2, :5], noise[..., :1, :1]):
        torch.testing.assert_close(gaussian_filter(x, sigma), scipys(x, sigma), rtol=0, atol=1e-6)
    shorter = scipys(noise, sigma, truncate=2.5)
    torch.testing.assert_close(gaussian_filter(noise, sigma, 2.5), shorter, rtol=0, atol=1e-6)


def test_equals_scipy_on_photos(photos):
    torch.testing.assert_close(gaussian_filter(photos), scipys(photos, 1.0), rtol=0, atol=1e-6)


def test_window_is_scipys_radius(noise):
    wanted = torch.from_numpy(ndimage.gaussian_filter(noise.numpy(), (0, 0, 1.5, 1.5), radius=(0, 0, 2, 2)))
    torch.testing.assert_close(gaussian_filter(noise, 1.5, window=5), wanted, rtol=0, atol=1e-6)


def test_white_stays_white_and_lets_gradients_pass():
    x = torch.ones(1, 3, 9, 9, requires_grad=True)
    out = gaussian_filter(x, 2.3)
    assert out.max() <= 1
    (gradient,) = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close(gradient, torch.ones_like(x))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sigma": 0.0}, "sigma"),
        ({"sigma": float("nan")}, "sigma"),
        ({"truncate": -1.0}, "truncate"),
        ({"window": 4}, "window"),
    ],
)
def test_bad_settings_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        Gaussian(**settings)
