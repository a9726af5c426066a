"""Image-to-image defenses that stand in front of a net."""

from blurnet.transforms.base import Pipeline, Transform, adaptive, defend, identity_bpda, transforms_of
from blurnet.transforms.bilateral import Bilateral, bilateral
from blurnet.transforms.bit_depth import BitDepth, bit_depth
from blurnet.transforms.class_inpainting.cam import class_activation_maps
from blurnet.transforms.class_inpainting.class_inpainting import ClassInpainting
from blurnet.transforms.class_inpainting.fusion import inpaint_and_denoise
from blurnet.transforms.deep_image_prior.deep_image_prior import (
    DeepImagePrior,
    deep_image_prior,
    prior_inpaint,
    prior_outputs,
)
from blurnet.transforms.deep_image_prior.text import extract_text, residual
from blurnet.transforms.gaussian import Gaussian, gaussian_filter
from blurnet.transforms.jpeg.jpeg import JPEG, jpeg
from blurnet.transforms.jpeg.model import jpeg_model
from blurnet.transforms.lgs.lgs import LGS, lgs
from blurnet.transforms.median import Median, median
from blurnet.transforms.non_local_means import NonLocalMeans, non_local_means
from blurnet.transforms.random_resize_pad import RandomResizePad, resize_pad
from blurnet.transforms.total_variation import TotalVariationMin, masked_total_variation_min, total_variation_min
from blurnet.transforms.watermark.inpaint import inpaint
from blurnet.transforms.watermark.saliency import saliency
from blurnet.transforms.watermark.watermark import DigitalWatermark, salient_region
from blurnet.transforms.wavelet import Wavelet, wavelet_denoise
