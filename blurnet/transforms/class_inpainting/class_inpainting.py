"""CIIDefence: inpaint where a net sees its classes, denoise the rest, and fuse."""

from dataclasses import dataclass, field, replace
from typing import Literal

from torch import Tensor, nn

from blurnet.bounds import Count, Steps
from blurnet.settings import Settings, takes
from blurnet.transforms._blocks import prepare
from blurnet.transforms.base import Gradient, Transform
from blurnet.transforms.class_inpainting.boxes import box_mask, local_maxima
from blurnet.transforms.class_inpainting.cam import check_layer, looking
from blurnet.transforms.class_inpainting.fusion import FusionSettings, inpaint_and_denoise


@dataclass(frozen=True)
class _BoxSettings(Settings):
    net: nn.Module | None = field(default=None, repr=False)
    classes: Count = 5
    maxima: Count = 3
    half_side: Steps | None = None
    separation: Steps | None = field(default=None, repr=False)
    layer: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class ClassInpaintingSettings(FusionSettings, _BoxSettings):  # the fields of the last base come first
    """Of :class:`ClassInpainting`: those here, then those of :class:`FusionSettings`, then ``surrogate``.

    Args:
        net: images in [0, 1] to logits. None: the model given to ``defend``, or to ``attach``.
        classes: how many, those of the highest logits.
        maxima: of each class's activation map, at most; a map with fewer gives fewer boxes.
        half_side: w; a box has ``2 w + 1`` pixels a side. None: 3 where the shorter side of the image has 224 pixels
            and in proportion elsewhere, rounded, 1 at least; a box of the 7 x 7 pixels would be 5 % of a 32 x 32 image.
        separation: of two maxima of one map that are at most so many pixels apart the lower is suppressed. None:
            ``2 w + 1``, so that boxes of one class do not overlap.
        layer: name of the module of the net whose output is taken for the last feature maps. None: found.
        surrogate: what an adaptive attacker differentiates: "exact", the whole chain with the boxes of the moment, or
            "identity", the authors' BPDA, as if nothing were done to the image. Exact is the default because it is the
            slope of what is computed; PGD got equally far with both. AutoPatch takes the other as a view.
    """

    surrogate: Literal["exact", "identity"] = "exact"


class ClassInpainting(Transform):
    """CIIDefence: the places that speak loudest for the likeliest classes are inpainted, and the rest is denoised.

    One pass of the net gives its ``classes`` likeliest classes and where it sees them
    (:func:`~blurnet.transforms.class_inpainting.cam.class_activation_maps`). Boxes around the highest local maxima of
    these maps are inpainted, the image is denoised by wavelets, and inside the boxes both are mixed
    (:func:`~blurnet.transforms.class_inpainting.fusion.inpaint_and_denoise`).

    The boxes are found anew at every call, so at every step of an attack. Its own gradient is that of denoising,
    inpainting and mixing with the boxes as they are; these are a step function of the image: an attacker who wants to
    move them puts the activation maps into the loss.

    The paper's inpainting is a network whose weights nobody provides: diffusion, OpenCV's, or a deep image prior stands
    for it. The paper does not settle the numbers of classes and maxima, w, the separation, sigma and the mixture: the
    defaults are ours.

    The net is referred to, not owned: it is no part of ``parameters()`` or of the state dict, which stays empty, and
    does not follow ``.to(device)``: move the model that owns it. ``copy.deepcopy`` of a model that holds both
    keeps them together.

    Args:
        settings: the fields of :class:`ClassInpaintingSettings`, as arguments of their own.

    Raises:
        TypeError, ValueError: bad settings; at a call, more classes than the net has, or no feature maps. KeyError: the
            net has no such layer. ImportError: OpenCV is missing. RuntimeError: at a call without net.

    Source: Gupta & Rahtu 2019, "CIIDefence: Defeating Adversarial Attacks by Fusing Class-Specific Image Inpainting
    and Image Denoising".
    """

    differentiable = True

    @takes(ClassInpaintingSettings)
    def __init__(self, settings: ClassInpaintingSettings) -> None:
        super().__init__()
        self._net: tuple[nn.Module, ...] = ()  # a tuple hides it from parameters()
        self.settings = replace(settings, net=None)
        if settings.net is not None:
            self.attach(settings.net)

    @property
    def net(self) -> nn.Module | None:
        """Whose activation maps count; None until one is attached."""
        return self._net[0] if self._net else None

    def attach(self, model: nn.Module) -> None:
        """Use the activation maps of this model, unless a net was given; KeyError if it has no such layer."""
        if self.net is None:
            check_layer(model, self.settings.layer)
            self._net = (model,)

    def boxes(self, x: Tensor) -> Tensor:
        """What is inpainted, (N, 1, H, W) of zeros and ones, for images (N, C, H, W) in [0, 1]."""
        if self.net is None:
            raise RuntimeError("class inpainting: no net to take activation maps of; give net=, or attach(net)")
        settings, size = self.settings, (x.shape[-2], x.shape[-1])
        half = max(1, round(3 * min(size) / 224)) if settings.half_side is None else settings.half_side
        separation = 2 * half + 1 if settings.separation is None else settings.separation
        with looking(self.net, prepare(x), settings.layer) as evidence:
            if settings.classes > (there := evidence.logits.shape[1]):
                raise ValueError(f"class inpainting: classes: the net has {there}, got {settings.classes}")
            likeliest = evidence.logits.detach().topk(settings.classes).indices
            maps = evidence.activation_maps(likeliest)
        return box_mask(local_maxima(maps, size, settings.maxima, separation), half, size)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to the same."""
        return inpaint_and_denoise(x, self.boxes(x), self.settings)

    def surrogate(self, x: Tensor) -> Tensor:
        """The image itself for the authors' BPDA, else the exact chain."""
        return x if self.settings.surrogate == "identity" else self.forward(x)

    def _goes_straight(self, gradient: Gradient) -> bool:
        exact = gradient == "surrogate" and self.settings.surrogate == "exact"  # one pass of the net, not two
        return exact or super()._goes_straight(gradient)

    def extra_repr(self) -> str:
        """Whether there is a net, and the settings, for ``print(net)``."""
        seen = f"surrogate={self.settings.surrogate!r}"  # the attribute of that name is the method
        return f"{'without net' if self.net is None else 'with net'}, {self.shown('surrogate')}, {seen}"
