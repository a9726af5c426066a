"""Non-local means against OpenCV and scikit-image."""

import numpy as np
import pytest
import torch

from blurnet.transforms.non_local_means import NonLocalMeans, non_local_means


def opencvs(x: torch.Tensor, search: int, patch: int, strength: float) -> torch.Tensor:
    cv2 = pytest.importorskip("cv2")
    pixels = (x * 255).round().byte().movedim(1, -1).contiguous().numpy()
    h = 255 * strength
    if x.shape[1] == 1:
        out = [cv2.fastNlMeansDenoising(i, None, h, patch, search)[..., None] for i in pixels]
    else:
        bgr = [np.ascontiguousarray(i[..., ::-1]) for i in pixels]
        out = [cv2.fastNlMeansDenoisingColored(i, None, h, h, patch, search)[..., ::-1] for i in bgr]
    return torch.from_numpy(np.stack(out)).movedim(-1, 1).float() / 255


@pytest.mark.parametrize("settings", [(5, 3, 0.1), (7, 5, 0.3)], ids=str)
def test_equals_scikit_image(noise, settings):
    denoise = pytest.importorskip("skimage.restoration").denoise_nl_means
    search, patch, strength = settings
    wanted = np.stack([denoise(i.numpy(), patch, search // 2, strength, channel_axis=0) for i in noise])
    ours = non_local_means(noise, search, patch, strength, "scikit-image")
    torch.testing.assert_close(ours, torch.from_numpy(wanted), rtol=0, atol=5e-3)


@pytest.mark.parametrize("settings", [(11, 3, 4 / 255), (7, 5, 10 / 255)], ids=str)
def test_follows_opencv_on_photos(photos, settings):
    x = photos[..., 100:180, 60:150]
    gray = x[:, :1]
    error = (non_local_means(gray, *settings) - opencvs(gray, *settings)).abs()
    assert error.max() <= 1 / 255
    error = (non_local_means(x, *settings) - opencvs(x, *settings)).abs()
    assert error.mean() <= 1 / 255
    assert error.max() <= 8 / 255
    assert (opencvs(x, *settings) - x).abs().mean() > 2 * error.mean()  # less than half of what the filter does


def test_without_likeness_nothing_changes(noise):
    torch.testing.assert_close(non_local_means(noise, 5, 3, 1e-3, "scikit-image"), noise)


@pytest.mark.parametrize("rule", ["opencv", "scikit-image"])
def test_gradient(noise, rule):
    x = noise[:1, :, :5, :6].double().mul(0.2).add(0.4).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: non_local_means(t, 3, 3, 0.3, rule), (x,))


def test_other_channels(noise):
    four = torch.cat([noise, noise[:, :1]], 1)
    assert non_local_means(four, 5, rule="scikit-image").shape == four.shape
    with pytest.raises(ValueError, match="1 or 3 channels"):
        non_local_means(four)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"search": 10}, "search"), ({"patch": 1}, "patch"), ({"strength": 0.0}, "strength"), ({"rule": "x"}, "opencv")],
)
def test_bad_settings_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        NonLocalMeans(**settings)
