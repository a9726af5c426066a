"""The differentiable model of JPEG against the codec, and its gradients."""

import io

import pytest
import torch
from PIL import Image

from blurnet.transforms.jpeg.jpeg import jpeg
from blurnet.transforms.jpeg.model import _COLOUR, _LIGHT, jpeg_model, quantization_table


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(-10 * (a - b).square().mean().log10())


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
