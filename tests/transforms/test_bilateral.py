"""The bilateral filter against scikit-image and OpenCV."""

import numpy as np
import pytest
import torch

from blurnet.transforms.bilateral import Bilateral, bilateral

SETTINGS = [(5, None, 1.0), (3, 0.1, 1.0), (5, 0.1, 2.0), (7, 0.3, 1.5)]


def scikit_images(x: torch.Tensor, window: int, color: float | None, spatial: float) -> torch.Tensor:
    denoise = pytest.importorskip("skimage.restoration").denoise_bilateral
    axis = {"channel_axis": 0} if x.shape[1] > 1 else {}
    images = [denoise(i.squeeze(0).numpy(), window, color, spatial, **axis) for i in x]
    return torch.from_numpy(np.stack(images)).view(x.shape)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_equals_scikit_image(noise, settings):
    for x in (noise, noise[:, :1, :9, :8]):
        torch.testing.assert_close(bilateral(x, *settings), scikit_images(x, *settings), rtol=0, atol=1e-3)


def test_equals_scikit_image_on_photos(photos):
    torch.testing.assert_close(bilateral(photos), scikit_images(photos, 5, None, 1.0), rtol=0, atol=1e-3)


@pytest.mark.parametrize("settings", SETTINGS[1:], ids=str)
def test_equals_opencv(noise, settings):
    cv2 = pytest.importorskip("cv2")
    window, color, spatial = settings
    pixels = (noise * 255).round().byte().movedim(1, -1).contiguous().numpy()
    wanted = np.stack([cv2.bilateralFilter(i, window, 255 * color, spatial) for i in pixels])
    ours = bilateral(torch.from_numpy(pixels).movedim(-1, 1) / 255, *settings, rule="opencv")
    assert (ours * 255 - torch.from_numpy(wanted).movedim(-1, 1)).abs().max() <= 1


def test_an_image_of_one_value_stays():
    x = torch.full((2, 3, 6, 6), 0.7)
    x[1] = torch.rand(3, 6, 6)
    assert torch.equal(bilateral(x)[0], x[0])
    torch.testing.assert_close(bilateral(x)[1:], bilateral(x[1:]), rtol=0, atol=1e-6)


def test_keeps_edges_that_a_plain_mean_blurs():
    x = torch.zeros(1, 3, 12, 12)
    x[..., 6:] = 1
    assert (bilateral(x, 5, 0.02, 2.0, "opencv") - x).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 4}, "window"),
        ({"sigma_color": 0.0}, "sigma_color"),
        ({"sigma_spatial": -1.0}, "sigma_spatial"),
        ({"rule": "scipy"}, "scikit-image"),
    ],
)
def test_bad_settings_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        Bilateral(**settings)
