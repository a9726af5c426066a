"""What becomes of an image once its boxes are known: wavelet denoising, and inpainting mixed in inside the boxes."""

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from blurnet.bounds import Count, Fraction, NotNegative, Positive
from blurnet.bpda import bpda
from blurnet.settings import Settings, takes
from blurnet.transforms._blocks import prepare
from blurnet.transforms.deep_image_prior.deep_image_prior import prior_inpaint
from blurnet.transforms.deep_image_prior.settings import DeepImagePriorSettings
from blurnet.transforms.watermark.inpaint import InpaintSettings, inpaint
from blurnet.transforms.wavelet import wavelet_denoise

#: What fills the boxes.
Filling = Literal["diffusion", "telea", "navier-stokes", "deep_image_prior"]


@dataclass(frozen=True)
class FusionSettings(Settings):
    """Of :func:`inpaint_and_denoise`.

    Args:
        fusion: share of the inpainted pixels in the boxes, in [0, 1]; the rest are the denoised ones.
        sigma: standard deviation of the noise, for the wavelets. None: estimated from each channel.
        inpainting: "diffusion" (batched, any device), OpenCV's "telea" or "navier-stokes", or "deep_image_prior": a net
            trained on the rest of each image, which takes seconds. The gradient of all is the diffusion's.
        radius: of OpenCV's inpainting, in pixels.
        iterations: of the deep image prior.
    """

    fusion: Fraction = 0.5
    sigma: NotNegative | None = None
    inpainting: Filling = "diffusion"
    radius: Positive = field(default=3.0, repr=False)
    iterations: Count = field(default=500, repr=False)


@takes(FusionSettings)
def inpaint_and_denoise(x: Tensor, mask: Tensor, settings: FusionSettings) -> Tensor:
    """The image denoised by soft BayesShrink, and inside a mask the mix of that and of the inpainted image.

    Both start from the image as it came. Colour images are denoised in YCbCr, others channel by channel.

    Args:
        x: images (N, C, H, W) in [0, 1]; any size.
        mask: zeros and ones (N, 1, H, W); may be empty.
        settings: the fields of :class:`FusionSettings`, as arguments of their own.

    Returns:
        Images (N, C, H, W) in [0, 1]; differentiable almost everywhere in ``x``.

    Raises:
        TypeError, ValueError: bad images or settings. ImportError: OpenCV is missing.

    Source: Gupta & Rahtu 2019; the denoiser is Pixel Deflection's (Prakash et al. 2018).
    """
    images = prepare(x, values=False)
    denoised = wavelet_denoise(images, sigma=settings.sigma, ycbcr=x.shape[1] == 3)
    return fuse(_inpainted(images, mask, settings), denoised, mask, settings.fusion).to(x.dtype)


def _inpainted(x: Tensor, mask: Tensor, settings: FusionSettings) -> Tensor:
    if settings.inpainting != "deep_image_prior":
        return inpaint(x, mask, InpaintSettings(settings.inpainting, settings.radius))
    if not bool(mask.any()):
        return x
    drawn = prior_inpaint(x, mask, DeepImagePriorSettings(settings.iterations))
    return bpda(drawn, inpaint(x, mask)) if x.requires_grad else drawn


def fuse(inpainted: Tensor, denoised: Tensor, mask: Tensor, fusion: float) -> Tensor:
    """``fusion * inpainted + (1 - fusion) * denoised`` inside a mask (N, 1, H, W), ``denoised`` elsewhere."""
    return denoised.lerp(inpainted, mask.to(denoised) * fusion)
