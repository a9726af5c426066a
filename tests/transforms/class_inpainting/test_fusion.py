"""Denoising outside the boxes, the mix inside: by hand, and against its parts."""

import pytest
import torch

from blurnet.transforms.class_inpainting.fusion import fuse, inpaint_and_denoise
from blurnet.transforms.deep_image_prior.deep_image_prior import prior_inpaint
from blurnet.transforms.deep_image_prior.settings import DeepImagePriorSettings
from blurnet.transforms.watermark.inpaint import inpaint
from blurnet.transforms.wavelet import wavelet_denoise


def box(height: int, width: int) -> torch.Tensor:
    mask = torch.zeros(1, 1, height, width)
    mask[..., 5:12, 9:16] = 1
    return mask


def test_fuse_by_hand():
    inpainted, denoised = torch.tensor([[[[0.8, 0.8, 0.8]]]]), torch.tensor([[[[0.4, 0.2, 0.0]]]])
    mask = torch.tensor([[[[1.0, 1.0, 0.0]]]])
    torch.testing.assert_close(fuse(inpainted, denoised, mask, 0.25), torch.tensor([[[[0.5, 0.35, 0.0]]]]))
    assert torch.equal(fuse(inpainted, denoised, mask, 0.0), denoised)
    assert torch.equal(fuse(inpainted, denoised, mask, 1.0), torch.where(mask > 0, inpainted, denoised))


def test_it_is_made_of_its_parts(noise):
    mask = box(20, 31)
    out = inpaint_and_denoise(noise, mask, 0.3, 0.05)
    filled, denoised = inpaint(noise, mask), wavelet_denoise(noise, sigma=0.05)
    wanted = torch.where(mask > 0, 0.3 * filled + 0.7 * denoised, denoised)
    torch.testing.assert_close(out, wanted, rtol=0, atol=1e-6)
    assert torch.equal(out[..., :5, :], denoised[..., :5, :])
    assert (filled - denoised)[..., 5:12, 9:16].abs().max() > 0.1


def test_without_boxes_it_is_the_wavelets(noise):
    assert torch.equal(inpaint_and_denoise(noise, box(20, 31) * 0), wavelet_denoise(noise))


def test_all_of_the_fusion_is_the_inpainting_of_the_boxes(noise):
    """Nothing of what was in a box is left where nothing but inpainting goes into it."""
    mask = box(20, 31).bool()
    other = torch.where(mask, 1 - noise, noise)
    inside = mask.expand_as(noise)
    assert torch.equal(*(inpaint_and_denoise(x, mask.float(), 1.0)[inside] for x in (noise, other)))


def test_gray_images_are_denoised_as_they_are(noise):
    gray, mask = noise[:, :1], box(20, 31)
    out = inpaint_and_denoise(gray, mask, 0.0)
    assert torch.equal(out, wavelet_denoise(gray, ycbcr=False))


def test_opencv_takes_its_place(noise):
    pytest.importorskip("cv2")
    mask = box(20, 31)
    out = inpaint_and_denoise(noise, mask, 1.0, inpainting="telea")
    wanted = inpaint(noise, mask, "telea", 3.0)
    assert torch.equal(out[..., 5:12, 9:16], wanted[..., 5:12, 9:16])


def test_the_gradient_is_that_of_the_chain():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 3, 8, 7, generator=generator, dtype=torch.float64) * 0.8 + 0.1
    mask = torch.zeros(1, 1, 8, 7)
    mask[..., 3:5, 4:6] = 1
    assert torch.autograd.gradcheck(lambda x: inpaint_and_denoise(x, mask, 0.4), (x.requires_grad_(),), atol=1e-4)


def test_half_precision_keeps_its_type(noise):
    out = inpaint_and_denoise(noise.half(), box(20, 31))
    assert out.dtype == torch.float16
    torch.testing.assert_close(out.float(), inpaint_and_denoise(noise, box(20, 31)), rtol=0, atol=0.01)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fusion": 1.5}, "fusion"),
        ({"sigma": -0.1}, "sigma"),
        ({"inpainting": "gan"}, "diffusion"),
        ({"radius": 0.0}, "radius"),
    ],
)
def test_bad_settings_raise(noise, settings, message):
    with pytest.raises(ValueError, match=message):
        inpaint_and_denoise(noise, box(20, 31), **settings)


def test_a_deep_image_prior_takes_its_place_with_the_gradient_of_the_diffusion(noise):
    mask, settings = box(20, 31), DeepImagePriorSettings(4)
    x = noise.clone().requires_grad_()
    out = inpaint_and_denoise(x, mask, 1.0, inpainting="deep_image_prior", iterations=4)
    wanted = prior_inpaint(noise, mask, settings)
    assert torch.equal(out[..., 5:12, 9:16], wanted[..., 5:12, 9:16])
    gradients = [torch.autograd.grad(y[..., 5:12, 9:16].sum(), x)[0] for y in (out, inpaint_and_denoise(x, mask, 1.0))]
    torch.testing.assert_close(*gradients)
    empty = inpaint_and_denoise(noise, mask * 0, 1.0, inpainting="deep_image_prior")
    assert torch.equal(empty, wavelet_denoise(noise))
