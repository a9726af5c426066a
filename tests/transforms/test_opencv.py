"""With OpenCV and without it the transformations give the same numbers, those of scipy and Pillow."""

import importlib
import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from blurnet.transforms import _opencv as opencv
from blurnet.transforms.gaussian import gaussian_filter
from blurnet.transforms.jpeg.jpeg import jpeg
from blurnet.transforms.median import median

pytest.importorskip("cv2")


@pytest.fixture(params=["with", "without"])
def library(request, monkeypatch):
    """Runs the test with the library and as if it were not installed."""
    if request.param == "without":
        for module in ("_opencv", "jpeg.jpeg"):
            monkeypatch.setattr(importlib.import_module(f"blurnet.transforms.{module}"), "opencv", lambda: None)
    return request.param == "with"


@pytest.fixture(params=["plain", "channels last", "gray", "every second"])
def images(request):
    """Images large enough for the library; several tasks' worth of them where they are plain."""
    x = torch.rand(12 if request.param == "plain" else 4, 3, 270, 260, generator=torch.Generator().manual_seed(0))
    x[0], x[1, :, :40] = 1, 0
    if request.param == "channels last":
        return x.to(memory_format=torch.channels_last)
    return {"gray": x[:, :1], "every second": x[::2]}.get(request.param, x)


def test_median_is_scipys_bit_for_bit(images, library):
    assert (opencv.filters(images) is not None) == library
    assert torch.equal(median(images), torch.from_numpy(ndimage.median_filter(images.numpy(), (1, 1, 3, 3))))


@pytest.mark.parametrize("sigma", [0.4, 1.0, 12.0])
def test_gaussian_is_scipys(images, library, sigma):
    wanted = torch.from_numpy(ndimage.gaussian_filter(images.numpy(), (0, 0, sigma, sigma)))
    blurred = gaussian_filter(images, sigma)
    torch.testing.assert_close(blurred, wanted, rtol=0, atol=1e-6)
    assert 0 <= blurred.min() <= blurred.max() <= 1


def test_a_blur_wider_than_the_image(library):
    x = torch.rand(1, 1, 1, 5000, generator=torch.Generator().manual_seed(0))
    wanted = torch.from_numpy(ndimage.gaussian_filter(x.numpy(), (0, 0, 3, 3)))
    torch.testing.assert_close(gaussian_filter(x, 3.0), wanted, rtol=0, atol=1e-6)


def test_jpeg_is_pillows_bit_for_bit(images, library):
    def code(image: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(np.rint(image * 255).astype(np.uint8).squeeze()).save(file, "JPEG", quality=30)
        return np.asarray(Image.open(file)).reshape(image.shape)

    wanted = np.stack([code(image) for image in images.movedim(1, -1).numpy()])
    assert torch.equal(jpeg(images, 30), torch.from_numpy(wanted).movedim(-1, 1) / 255)


def test_halves_of_bytes_round_to_even(library):
    x = torch.arange(4096.0).view(1, 1, 64, 64).remainder(255).add(0.5) / 255
    rounded = torch.from_numpy(np.rint((x * 255).numpy()).astype(np.uint8))
    if library:
        assert torch.equal(opencv.bytes_of(x[0]), rounded[0].movedim(0, -1))
    else:
        with pytest.raises(ImportError, match=r"bytes_of needs OpenCV: pip install"):
            opencv.bytes_of(x[0])


@pytest.mark.parametrize("value", [float("nan"), 1.5, -0.1])
@pytest.mark.parametrize("transform", [median, gaussian_filter, jpeg])
def test_bad_pixels_raise(images, library, transform, value):
    images = images.clone()
    images[-1, 0, 100, 100] = value
    with pytest.raises(ValueError, match=r"NaN|expected pixels in \[0, 1\]"):
        transform(images)


def test_gradients_go_through_torch(images, library):
    assert opencv.filters(images.clone().requires_grad_()) is None
    with torch.no_grad():
        assert (opencv.filters(images.clone().requires_grad_()) is not None) == library
    assert opencv.filters(images.double()) is None
    assert opencv.filters(images[..., :20, :20]) is None
