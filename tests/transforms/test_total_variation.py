"""Split Bregman against scikit-image, and the masked reading against its sequential loop."""

import numpy as np
import pytest
import torch

from blurnet.transforms.total_variation import TotalVariationMin, masked_total_variation_min, total_variation_min


def scikit_images(x: torch.Tensor, **settings: float) -> torch.Tensor:
    denoise = pytest.importorskip("skimage.restoration").denoise_tv_bregman
    return torch.from_numpy(np.stack([[denoise(plane, **settings) for plane in image] for image in x.numpy()]))


@pytest.mark.parametrize("weight", [10.0, 20.0, 30.0])
@pytest.mark.parametrize("isotropic", [True, False])
def test_equals_scikit_image(noise, weight, isotropic):
    for x in (noise, noise[..., :2, :5]):
        wanted = scikit_images(x, weight=weight, isotropic=isotropic)
        torch.testing.assert_close(total_variation_min(x, weight, isotropic), wanted, rtol=0, atol=5e-4)


def test_equals_scikit_image_on_photos(photos):
    error = (total_variation_min(photos) - scikit_images(photos, weight=10.0)).abs()
    assert error.max() < 5e-4
    assert error.mean() < 2e-5


def test_equals_scikit_image_at_convergence(noise):
    wanted = scikit_images(noise[:1], weight=10.0, max_num_iter=1000, eps=1e-6)
    ours = total_variation_min(noise[:1], 10.0, iterations=1000, tolerance=1e-6)
    torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-4)


def variation(x: torch.Tensor) -> float:
    return float(x.diff(dim=-1).abs().mean() + x.diff(dim=-2).abs().mean())


def test_smaller_weights_are_smoother_and_farther(noise):
    results = [total_variation_min(noise, weight) for weight in (3.0, 10.0, 30.0, 100.0)]
    variations = [variation(result) for result in results]
    distances = [float((result - noise).abs().mean()) for result in results]
    assert variations == sorted(variations)
    assert distances == sorted(distances, reverse=True)


def test_a_constant_image_stays():
    for x in (torch.zeros(1, 3, 5, 6), torch.full((1, 3, 5, 6), 0.3), torch.ones(1, 3, 5, 6)):
        torch.testing.assert_close(total_variation_min(x), x)


def loop(f: np.ndarray, kept: np.ndarray, weight: float, iterations: int, tolerance: float) -> np.ndarray:
    """Guo et al.'s masked Bregman, pixel by pixel, one channel; a dropped value is the mean of its neighbours."""
    u, scale = f * kept, 2 * weight
    bx, by, z, before = np.zeros_like(f), np.zeros_like(f), np.zeros_like(f), f * kept
    height, width = f.shape
    for _ in range(iterations):
        for _ in range(10):
            for r in range(height):
                for c in range(width):
                    places = [(r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)]
                    around = [u[i, j] for i, j in places if 0 <= i < height and 0 <= j < width]
                    inner = z[r, c] + sum(around)
                    own = (scale * inner + weight * f[r, c]) / (weight + len(around) * scale)
                    u[r, c] = own if kept[r, c] else inner / len(around)
        tx, ty = bx.copy(), by.copy()
        tx[:, :-1] += np.diff(u, axis=1)
        ty[:-1] += np.diff(u, axis=0)
        size = np.hypot(tx, ty)
        share = size * scale / (size * scale + 1)
        bx, by = tx - share * tx, ty - share * ty
        px, py = share * tx - bx, share * ty - by
        z = -px - py
        z[:, 1:] += px[:, :-1]
        z[1:] += py[:-1]
        change, before = np.sqrt(((u - before) ** 2).mean()), u.copy()
        if change <= tolerance:
            break
    return u


def test_masked_goes_where_the_loop_goes(noise):
    smooth = torch.nn.functional.interpolate(noise[:1, :1, :4, :4], (16, 14), mode="bilinear")
    kept = (torch.rand(1, 1, 16, 14, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    wanted = [loop(smooth[0, 0].double().numpy(), kept[0, 0].numpy(), 33.0, *stop) for stop in ((100, 0.01), (60, 0.0))]
    early = masked_total_variation_min(smooth, kept, 33.0)[0, 0].numpy()
    late = masked_total_variation_min(smooth, kept, 33.0, iterations=60, tolerance=1e-9)[0, 0].numpy()
    assert np.abs(early - wanted[0]).mean() < 0.01
    assert np.abs(late - wanted[1]).max() < 2e-3


def test_dropped_values_take_no_part(noise):
    kept = (torch.rand(1, 3, 20, 31, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    other = torch.where(kept > 0, noise, torch.rand_like(noise))
    assert torch.equal(masked_total_variation_min(noise, kept), masked_total_variation_min(other, kept))
    x = noise.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(masked_total_variation_min(x, kept).square().sum(), x)
    assert torch.equal(gradient != 0, kept.bool().expand_as(x))


def test_gradients(noise):
    x = noise[:1, :1, :5, :6].double().requires_grad_()
    kept = (noise[1:, :1, :5, :6] > 0.4).double()
    for isotropic in (True, False):
        assert torch.autograd.gradcheck(lambda t, i=isotropic: total_variation_min(t, 10.0, i, iterations=5), (x,))
    assert torch.autograd.gradcheck(lambda t: masked_total_variation_min(t, kept, iterations=2, sweeps=3), (x,))


def test_each_call_drops_other_values(noise):
    transform = TotalVariationMin(33.0, drop=0.5, seed=3)
    assert transform.random
    assert not TotalVariationMin().random
    first = transform(noise)
    assert not torch.equal(transform(noise), first)
    transform.reset()
    assert torch.equal(transform(noise), first)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": 0.0}, "weight"),
        ({"weight": float("inf")}, "weight"),
        ({"drop": 1.0}, "drop"),
        ({"iterations": 0}, "iterations"),
        ({"tolerance": 0.0}, "tolerance"),
    ],
)
def test_bad_settings_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        TotalVariationMin(**settings)


def test_bad_masks_and_sizes_raise(noise):
    with pytest.raises(ValueError, match="kept"):
        masked_total_variation_min(noise, torch.ones(1, 2, 20, 31))
    with pytest.raises(ValueError, match="zeros and ones"):
        masked_total_variation_min(noise, torch.full((1, 1, 20, 31), 0.5))
    with pytest.raises(ValueError, match="2 x 2"):
        total_variation_min(noise[..., :1, :])
