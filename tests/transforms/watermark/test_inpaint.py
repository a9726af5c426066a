"""Inpainting: what stays, what is filled and with what."""

import importlib

import numpy as np
import pytest
import torch

from blurnet.transforms.watermark.inpaint import inpaint

module = importlib.import_module("blurnet.transforms.watermark.inpaint")


def hole(size: tuple[int, int] = (20, 31)) -> torch.Tensor:
    mask = torch.zeros(1, 1, *size)
    mask[..., 5:11, 8:16] = 1
    return mask


@pytest.mark.parametrize("method", ["diffusion", "telea", "navier-stokes"])
def test_outside_stays_bit_for_bit_and_inside_takes_no_part(noise, method):
    if method != "diffusion":
        pytest.importorskip("cv2")
    out = inpaint(noise, hole(), method)
    outside = (hole() == 0).expand_as(noise)
    assert torch.equal(out[outside], noise[outside])
    other = torch.where(outside, noise, torch.rand_like(noise))
    assert torch.equal(inpaint(other, hole(), method), out)


@pytest.mark.parametrize(
    "box", [(3, 9, 40, 49), (70, 90, 60, 75), (0, 30, 0, 75), (89, 90, 0, 1), (0, 90, 0, 75)], ids=str
)
@pytest.mark.parametrize("count", [1, 2])
def test_only_the_surroundings_matter(monkeypatch, box, count):
    """The same bits as from the whole image, at borders with cells cut off too."""
    g = torch.Generator().manual_seed(0)
    x, mask = torch.rand(2, 3, 90, 75, generator=g), torch.zeros(count, 1, 90, 75)
    mask[:1, :, box[0] : box[1], box[2] : box[3]] = 1
    out = inpaint(x, mask)
    monkeypatch.setattr(module, "_surroundings", lambda inside: (slice(0, 90), slice(0, 75)))
    assert torch.equal(inpaint(x, mask), out)


def test_equals_opencv(noise):
    cv2 = pytest.importorskip("cv2")
    pixels = (noise * 255).round().byte().movedim(1, -1).contiguous().numpy()
    x = torch.from_numpy(pixels).movedim(-1, 1) / 255
    for method, flag in (("telea", cv2.INPAINT_TELEA), ("navier-stokes", cv2.INPAINT_NS)):
        wanted = np.stack([cv2.inpaint(i, hole()[0, 0].byte().numpy(), 5, flag) for i in pixels])
        torch.testing.assert_close(inpaint(x, hole(), method), torch.from_numpy(wanted).movedim(-1, 1) / 255)


def test_a_smooth_image_is_filled_smoothly():
    ramp = torch.linspace(0, 1, 31).expand(1, 3, 20, 31)
    assert (inpaint(ramp, hole()) - ramp).abs().max() < 0.12
    assert (inpaint(ramp, hole(), steps=400) - ramp).abs().max() < 2e-3
    flat = torch.full((1, 3, 20, 31), 0.3)
    torch.testing.assert_close(inpaint(flat, hole()), flat)


def test_everything_nothing_and_masks_of_their_own(noise):
    nothing, everything = torch.zeros(1, 1, 20, 31), torch.ones(1, 1, 20, 31)
    assert torch.equal(inpaint(noise, nothing), noise)
    assert torch.equal(inpaint(noise, everything), torch.full_like(noise, 0.5))
    both = torch.cat([hole(), hole().roll(9, -1)])
    out = inpaint(noise, both)
    for i in (0, 1):
        assert torch.equal(out[i : i + 1], inpaint(noise[i : i + 1], both[i : i + 1]))


def test_few_pixels_of_each_image_are_filled_as_if_it_were_alone(noise):
    """Scattered small masks are worked on pixel by pixel: the same bits, also at the border, and a gradient."""
    masks = torch.zeros(2, 1, 20, 31)
    for image, row, column in ((0, 3, 4), (0, 19, 30), (1, 0, 0), (1, 10, 11), (1, 10, 12)):
        masks[image, 0, row, column] = 1
    few = inpaint(noise, masks)
    assert torch.equal(few, torch.cat([inpaint(x[None], m[None]) for x, m in zip(noise, masks, strict=True)]))
    x = noise.clone().requires_grad_()
    result = inpaint(x, masks)
    assert torch.equal(result, few)
    (gradient,) = torch.autograd.grad(result.sum(), x)
    assert (gradient[(masks > 0).expand_as(x)] == 0).all()
    assert gradient[0, 0, 2, 4] > 1


def test_gradient(noise):
    x, mask = noise[:1, :1, :6, :7].double().requires_grad_(), (noise[1:, :1, :6, :7] > 0.6).float()
    assert torch.autograd.gradcheck(lambda t: inpaint(t, mask), (x,))


def test_opencvs_gradient_is_that_of_diffusion(noise):
    pytest.importorskip("cv2")
    x = noise.clone().requires_grad_()
    gradients = [torch.autograd.grad(inpaint(x, hole(), m).square().sum(), x)[0] for m in ("diffusion", "telea")]
    inside = hole().bool().expand_as(x)
    assert all((g[inside] == 0).all() for g in gradients)
    assert gradients[1][~inside].abs().min() > 0


@pytest.mark.parametrize("value", [float("nan"), 1.5])
@pytest.mark.parametrize("records", [False, True])
def test_a_bad_pixel_far_from_the_mask_raises(noise, value, records):
    x = noise.clone()
    x[-1, -1, -1, -1] = value
    with pytest.raises(ValueError, match=r"NaN|\[0, 1\]"):
        inpaint(x.requires_grad_(records), hole())


def test_bad_arguments_raise(noise):
    with pytest.raises(ValueError, match="mask"):
        inpaint(noise, torch.zeros(20, 31))
    with pytest.raises(ValueError, match="diffusion"):
        inpaint(noise, hole(), "median")
    with pytest.raises(ValueError, match="radius"):
        inpaint(noise, hole(), radius=0.0)
