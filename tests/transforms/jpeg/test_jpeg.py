"""The JPEG codec against Pillow; settings of codec and model."""

import importlib
import io

import numpy as np
import pytest
import torch
from PIL import Image

from blurnet.transforms.jpeg.jpeg import JPEG, jpeg
from blurnet.transforms.jpeg.model import jpeg_model


def pillows(image: torch.Tensor, quality: int) -> torch.Tensor:
    file = io.BytesIO()
    pixels = (image * 255).round().byte().movedim(0, -1).squeeze(-1).numpy()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    decoded = torch.from_numpy(np.array(Image.open(file)))
    return (decoded if decoded.ndim == 3 else decoded[..., None]).movedim(-1, 0).float() / 255


@pytest.mark.parametrize("quality", [1, 30, 75, 100])
def test_equals_pillow_bit_for_bit(noise, quality):
    for x in (noise, noise[:, :1], noise[..., :1, :1]):
        assert torch.equal(jpeg(x, quality), torch.stack([pillows(i, quality) for i in x]))


def test_pillow_takes_over_where_torchvision_has_no_codec(noise, monkeypatch):
    wanted = [jpeg(x, 30) for x in (noise, noise[:, :1])]
    monkeypatch.setattr(importlib.import_module("blurnet.transforms.jpeg.jpeg"), "_fast_codec", lambda: None)
    assert all(torch.equal(jpeg(x, 30), w) for x, w in zip((noise, noise[:, :1]), wanted, strict=True))


@pytest.mark.parametrize(
    ("quality", "error"), [(0, ValueError), (101, ValueError), (-1, ValueError), (30.0, TypeError), (True, TypeError)]
)
def test_bad_quality_raises(quality, error):
    for make in (JPEG, lambda q: jpeg(torch.zeros(1, 3, 8, 8), q), lambda q: jpeg_model(torch.zeros(1, 3, 8, 8), q)):
        with pytest.raises(error, match=f"quality: expected .*, got {quality}"):
            make(quality)


def test_other_bad_settings_raise():
    with pytest.raises(ValueError, match="4:2:0"):
        JPEG(30, "4:1:1")
    with pytest.raises(ValueError, match="cubic"):
        JPEG(30, rounding="soft")
    for function in (jpeg, jpeg_model):
        with pytest.raises(ValueError, match="1 or 3 channels"):
            function(torch.rand(1, 2, 8, 8))
