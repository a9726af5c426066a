"""The JPEG codec against Pillow, and the model against the codec."""

import importlib
import io

import numpy as np
import pytest
import torch
from PIL import Image

from blurnet.transforms.jpeg.jpeg import JPEG, jpeg
from blurnet.transforms.jpeg.model import _COLOUR, _LIGHT, jpeg_model, quantization_table


def pillows(image: torch.Tensor, quality: int) -> torch.Tensor:
    file = io.BytesIO()
    pixels = (image * 255).round().byte().movedim(0, -1).squeeze(-1).numpy()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    decoded = torch.from_numpy(np.array(Image.open(file)))
    return (decoded if decoded.ndim == 3 else decoded[..., None]).movedim(-1, 0).float() / 255


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(-10 * (a - b).square().mean().log10())


@pytest.mark.parametrize("quality", [1, 30, 75, 100])
def test_equals_pillow_bit_for_bit(noise, quality):
    for x in (noise, noise[:, :1], noise[..., :1, :1]):
        assert torch.equal(jpeg(x, quality), torch.stack([pillows(i, quality) for i in x]))


def test_pillow_takes_over_where_torchvision_has_no_codec(noise, monkeypatch):
    wanted = [jpeg(x, 30) for x in (noise, noise[:, :1])]
    monkeypatch.setattr(importlib.import_module("blurnet.transforms.jpeg.jpeg"), "_fast_codec", lambda: None)
    assert all(torch.equal(jpeg(x, 30), w) for x, w in zip((noise, noise[:, :1]), wanted, strict=True))


def test_tables_are_those_in_the_files():
    for quality in (1, 10, 49, 50, 75, 100):
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
        tables = Image.open(file).quantization
        assert [sorted(tables[i]) for i in (0, 1)] == [
            sorted(quantization_table(t, quality).flatten().tolist()) for t in (_LIGHT, _COLOUR)
        ]


@pytest.mark.parametrize(("quality", "least"), [(10, 40.0), (30, 42.0), (75, 45.0), (95, 46.0)])
def test_the_model_is_close_to_the_codec_on_photos(photos, quality, least):
    coded = jpeg(photos, quality)
    assert psnr(jpeg_model(photos, quality), coded) > least
    assert psnr(jpeg_model(photos, quality, rounding="cubic"), coded) > least - 3
    assert psnr(photos, coded) < least - 3  # while the identity is not


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
def test_the_model_is_close_to_the_codec_at_any_size(subsampling):
    coarse = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, (33, 45), mode="bilinear")
    for x in (smooth, smooth[..., :16, :16], smooth[..., :1, :9], smooth[:, :1], smooth[..., :1, :1]):
        assert psnr(jpeg_model(x, 75, subsampling), jpeg(x, 75, subsampling)) > 40


def test_straight_through_is_the_pipeline_without_rounding():
    """Its gradient is linear: colours, halving, doubling and colours again; a gray change comes back as it was."""
    g = torch.Generator().manual_seed(0)
    x = (torch.rand(1, 3, 16, 16, generator=g) * 0.4 + 0.3).double().requires_grad_()
    weight = torch.randn(1, 1, 16, 16, generator=g).double().expand(1, 3, 16, 16)
    (gradient,) = torch.autograd.grad((jpeg_model(x, 30) * weight).sum(), x)
    torch.testing.assert_close(gradient.sum(1), 3 * weight[:, 0], rtol=0, atol=1e-6)
    colour = torch.tensor([1.0, -1.0, 0.0]).double().view(1, 3, 1, 1).expand(1, 3, 16, 16)
    (gradient,) = torch.autograd.grad((jpeg_model(x, 30, "4:4:4") * colour).sum(), x)
    torch.testing.assert_close(gradient, colour, rtol=0, atol=1e-6)


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
def test_gradient_of_cubic_rounding(subsampling):
    x = (torch.rand(1, 3, 9, 6, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda t: jpeg_model(t, 50, subsampling, "cubic"), (x,))


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
