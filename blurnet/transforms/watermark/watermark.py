"""Digital watermarking: find the region that a net's answer depends on, and inpaint it."""

from dataclasses import dataclass, field, replace

import torch.nn.functional as F
from torch import Tensor, nn

from blurnet.bounds import Odd, Positive, Share
from blurnet.checks import check_mask
from blurnet.settings import Settings, takes
from blurnet.transforms._blocks import prepare
from blurnet.transforms.base import Transform
from blurnet.transforms.watermark.inpaint import Inpainting, InpaintSettings, inpaint
from blurnet.transforms.watermark.saliency import saliency


@dataclass(frozen=True)
class RegionSettings(Settings):
    """Of :func:`salient_region`.

    Args:
        share: of the pixels that are marked, in (0, 1].
        density: least share of marked pixels in a window, in (0, 1].
        window: odd side of the window in pixels. None: 9 at 299 x 299 and in proportion elsewhere, 3 at least.
        opening: odd side of the square of erosion and then dilation in pixels; 1 for none.
        dilation: odd side of the square of the last dilation in pixels. None: 7 at 299 x 299, as ``window``.
    """

    share: Share = 0.03
    density: Share = 0.15
    window: Odd | None = field(default=None, repr=False)
    opening: Odd = field(default=3, repr=False)
    dilation: Odd | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Known(Settings):
    net: nn.Module | None = field(default=None, repr=False)
    mask: Tensor | None = field(default=None, repr=False)


@dataclass(frozen=True)
class DigitalWatermarkSettings(RegionSettings, _Known):  # the fields of the last base come first
    """Of :class:`DigitalWatermark`: net and mask, then those of :class:`RegionSettings`, then those of its own.

    Args:
        net: images in [0, 1] to logits, for blind use. None: the model given to ``defend``, or to ``attach``.
        mask: zeros and ones that broadcast over images, for non-blind use; not in the state dict either.
        guided: guided backpropagation, or the plain gradient.
        inpainting: "diffusion" (batched, any device) or OpenCV's "telea" or "navier-stokes".
        radius: of OpenCV's inpainting, in pixels.
    """

    guided: bool = field(default=True, repr=False)
    inpainting: Inpainting = "diffusion"
    radius: Positive = field(default=5.0, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.net is not None and self.mask is not None:
            raise ValueError("DigitalWatermark: give a net (blind) or a mask (non-blind), not both")


@takes(RegionSettings)
def salient_region(saliency: Tensor, settings: RegionSettings) -> Tensor:
    """The region in which the most salient pixels crowd.

    The ``share`` of pixels of highest saliency is marked; where marked pixels are at least ``density`` of a window
    the window's middle is in the region; opening removes specks, dilation closes gaps and adds a margin.

    Args:
        saliency: (N, 1, H, W), 0 and up.
        settings: the fields of :class:`RegionSettings`, as arguments of their own.

    Returns:
        Mask (N, 1, H, W) of zeros and ones, float; may be empty.

    Raises:
        TypeError, ValueError: bad settings.

    Source: Hayes 2018, whose sizes and thresholds are not at hand: these are ours.
    """
    height, width = saliency.shape[-2:]
    sizes = ((settings.window, 9), (settings.dilation, 7))
    window, dilation = (given or _odd(size, min(height, width)) for given, size in sizes)
    count = max(1, round(settings.share * height * width))
    least = saliency.flatten(1).topk(count, sorted=False).values.amin(1)[:, None, None, None]
    marked = ((saliency >= least) & (saliency > 0)).float()
    crowd = F.avg_pool2d(marked, window, 1, window // 2, count_include_pad=False)
    region = (crowd >= settings.density).float()
    eroded = 1 - _dilated(1 - region, settings.opening)
    return _dilated(_dilated(eroded, settings.opening), dilation)


class DigitalWatermark(Transform):
    """Blind or non-blind digital watermarking: inpaint a region that may be, or is known to be, attacked.

    Blind, the region is where the saliency of the net that follows crowds (:func:`salient_region`); non-blind, it is
    ``mask``. LGS's Table 1 and 2 are blind; its text gives the mask to the defense in Table 3, the caption does not.

    Its gradient takes the region as given: that of the filling outside of it, none inside. The region itself is a step
    function of the image: an attacker who wants to move it lowers the saliency of the patch in the loss.

    The net is referred to, not owned: it is no part of ``parameters()`` or of the state dict, which stays empty, and
    does not follow ``.to(device)``: move the model that owns it. ``copy.deepcopy`` of a model that holds both
    keeps them together.

    Args:
        settings: the fields of :class:`DigitalWatermarkSettings`, as arguments of their own.

    Raises:
        TypeError, ValueError: bad settings, net and mask at once. ImportError: OpenCV is missing. RuntimeError: at a
            call without net or mask.

    Source: Hayes 2018, "On Visible Adversarial Perturbations & Digital Watermarking".
    """

    differentiable = True
    mask: Tensor | None

    @takes(DigitalWatermarkSettings)
    def __init__(self, settings: DigitalWatermarkSettings) -> None:
        super().__init__()
        self._net = () if settings.net is None else (settings.net,)  # a tuple hides it from parameters()
        self.register_buffer("mask", settings.mask, persistent=False)
        self.settings = replace(settings, net=None, mask=None)
        self._filling = InpaintSettings(settings.inpainting, settings.radius)

    @property
    def net(self) -> nn.Module | None:
        """Whose saliency counts; None until one is attached, and with a mask."""
        return self._net[0] if self._net else None

    def attach(self, model: nn.Module) -> None:
        """Use the saliency of this model, unless a net or a mask was given."""
        if self.mask is None and self.net is None:
            self._net = (model,)

    def region(self, x: Tensor) -> Tensor:
        """The region to be inpainted, (N, 1, H, W) of zeros and ones, for images (N, C, H, W) in [0, 1]."""
        if self.mask is not None:
            check_mask(self.mask, x, "digital watermark: mask")
            return self.mask.expand(len(x), 1, *x.shape[-2:])
        if self.net is None:
            raise RuntimeError("digital watermark: no net to take the saliency of; attach(net), or give a mask")
        return salient_region(saliency(self.net, prepare(x), self.settings.guided), self.settings)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to the same."""
        return inpaint(x, self.region(x), self._filling)

    def extra_repr(self) -> str:
        """Where the region comes from, and the settings, for ``print(net)``."""
        kind = "non-blind" if self.mask is not None else "without net" if self.net is None else "blind"
        return f"{kind}, {self.shown()}"


def _dilated(mask: Tensor, size: int) -> Tensor:
    return F.max_pool2d(mask, size, 1, size // 2)


def _odd(size: int, side: int) -> int:
    """An odd number of pixels in proportion to 299, 3 at least."""
    return max(3, 2 * round(size * side / 299 / 2 - 0.5) + 1)
