"""Digital watermarking: find the region that a net's answer hangs on, and inpaint it."""

import torch.nn.functional as F
from torch import Tensor, nn

from blurnet.checks import check_mask, check_odd
from blurnet.transforms._blocks import prepare
from blurnet.transforms.base import Transform
from blurnet.transforms.watermark.inpaint import Inpainting, check_inpainting, inpaint
from blurnet.transforms.watermark.saliency import saliency


def salient_region(
    saliency: Tensor,
    share: float = 0.03,
    density: float = 0.15,
    window: int | None = None,
    opening: int = 3,
    dilation: int | None = None,
) -> Tensor:
    """The region in which the most salient pixels crowd.

    The ``share`` of pixels of highest saliency is marked; where marked pixels are at least ``density`` of a window
    the window's middle is in the region; opening removes specks, dilation closes gaps and adds a margin.

    Args:
        saliency: (N, 1, H, W), 0 and up.
        share: of the pixels that are marked, in (0, 1].
        density: least share of marked pixels in a window, in (0, 1].
        window: odd side of the window in pixels. None: 9 at 299 x 299 and in proportion elsewhere, 3 at least.
        opening: odd side of the square of erosion and then dilation in pixels; 1 for none.
        dilation: odd side of the square of the last dilation in pixels. None: 7 at 299 x 299, as ``window``.

    Returns:
        Mask (N, 1, H, W) of zeros and ones, float; may be empty.

    Raises:
        ValueError: bad settings.

    Source: Hayes 2018, whose sizes and thresholds are not at hand: these are ours.
    """
    _check_region(share, density, window, opening, dilation)
    height, width = saliency.shape[-2:]
    window, dilation = (given or _odd(size, min(height, width)) for given, size in ((window, 9), (dilation, 7)))
    count = max(1, round(share * height * width))
    least = saliency.flatten(1).topk(count, sorted=False).values.amin(1)[:, None, None, None]
    marked = ((saliency >= least) & (saliency > 0)).float()
    crowd = F.avg_pool2d(marked, window, 1, window // 2, count_include_pad=False)
    region = (crowd >= density).float()
    eroded = 1 - _dilated(1 - region, opening)
    return _dilated(_dilated(eroded, opening), dilation)


class DigitalWatermark(Transform):
    """Blind or non-blind digital watermarking: inpaint a region that is suspected, or known, to be attacked.

    Blind, the region is where the saliency of the net that follows crowds (:func:`salient_region`); non-blind, it is
    ``mask``. LGS's Table 1 and 2 are blind; its text gives the mask to the defense in Table 3, the caption does not.

    Its gradient takes the region as given: that of the filling outside of it, none inside. The region itself is a step
    function of the image: an attacker who wants to move it lowers the saliency of the patch in the loss.

    The net is referred to, not owned: it is no part of ``parameters()`` or of the state dict, which stays empty, and
    does not follow ``.to(device)``: move the model that owns it. ``copy.deepcopy`` of a model that holds both
    keeps them together.

    Args:
        net: images in [0, 1] to logits, for blind use. None: the model given to ``defend``, or to :meth:`attach`.
        mask: zeros and ones that broadcast over images, for non-blind use; not in the state dict either.
        share: see :func:`salient_region`, as are density, window, opening and dilation.
        density: least share of marked pixels in a window.
        window: side of the window in pixels.
        opening: side of the opening in pixels.
        dilation: side of the dilation in pixels.
        guided: guided backpropagation, or the plain gradient.
        inpainting: "diffusion" (batched, any device) or OpenCV's "telea" or "navier-stokes".
        radius: of OpenCV's inpainting, in pixels.

    Raises:
        ValueError: bad settings, net and mask at once. ImportError: OpenCV is missing. RuntimeError: at a call
            without net or mask.

    Source: Hayes 2018, "On Visible Adversarial Perturbations & Digital Watermarking".
    """

    differentiable = True
    mask: Tensor | None

    def __init__(
        self,
        net: nn.Module | None = None,
        mask: Tensor | None = None,
        share: float = 0.03,
        density: float = 0.15,
        window: int | None = None,
        opening: int = 3,
        dilation: int | None = None,
        guided: bool = True,
        inpainting: Inpainting = "diffusion",
        radius: float = 5.0,
    ) -> None:
        super().__init__()
        _check_region(share, density, window, opening, dilation)
        check_inpainting(inpainting, radius)
        if net is not None and mask is not None:
            raise ValueError("digital watermark: give a net (blind) or a mask (non-blind), not both")
        self._net = () if net is None else (net,)  # a tuple hides it from parameters() and the state dict
        self.register_buffer("mask", mask, persistent=False)
        self.share, self.density, self.window, self.opening, self.dilation = share, density, window, opening, dilation
        self.guided, self.inpainting, self.radius = guided, inpainting, radius

    def attach(self, model: nn.Module) -> None:
        """Use the saliency of this model, unless a net or a mask was given."""
        if self.mask is None and not self._net:
            self._net = (model,)

    def region(self, x: Tensor) -> Tensor:
        """The region to be inpainted, (N, 1, H, W) of zeros and ones, for images (N, C, H, W) in [0, 1]."""
        if self.mask is not None:
            check_mask(self.mask, x, "digital watermark: mask")
            return self.mask.expand(len(x), 1, *x.shape[-2:])
        if not self._net:
            raise RuntimeError("digital watermark: no net to take the saliency of; attach(net), or give a mask")
        salient = saliency(self._net[0], prepare(x), self.guided)
        return salient_region(salient, self.share, self.density, self.window, self.opening, self.dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to the same."""
        return inpaint(x, self.region(x), self.inpainting, self.radius)

    def extra_repr(self) -> str:
        """The arguments, for ``print(net)``."""
        kind = "non-blind" if self.mask is not None else "blind" if self._net else "without net"
        return f"{kind}, share={self.share:g}, density={self.density:g}, inpainting={self.inpainting!r}"


def _dilated(mask: Tensor, size: int) -> Tensor:
    return F.max_pool2d(mask, size, 1, size // 2)


def _odd(size: int, side: int) -> int:
    """An odd number of pixels in proportion to 299, 3 at least."""
    return max(3, 2 * round(size * side / 299 / 2 - 0.5) + 1)


def _check_region(share: float, density: float, window: int | None, opening: int, dilation: int | None) -> None:
    for name, value in {"share": share, "density": density}.items():
        if not 0 < value <= 1:
            raise ValueError(f"digital watermark {name}: expected a share above 0, at most 1, got {value!r}")
    for name, size in {"window": window, "opening": opening, "dilation": dilation}.items():
        if size is not None:
            check_odd(size, f"digital watermark: {name}")
