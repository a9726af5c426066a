"""Specs to modules: the only file that knows every name.

A new net or defense is one line in a table here. A spec may come from a downloaded file, so a name is only ever
looked up in these tables and arguments are checked against the constructor's signature.
"""

import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from blurnet.certified.base import CertifiedModel
from blurnet.certified.derandomized import Derandomized
from blurnet.certified.double_masking import DoubleMasking
from blurnet.files import load_weights
from blurnet.layers.denoise import FeatureDenoise
from blurnet.layers.insert import insert_after, insert_before
from blurnet.layers.lowpass import FixedLowPass, LearnedLowPass
from blurnet.layers.penalties import Tikhonov, TotalVariation
from blurnet.modes import resting
from blurnet.nets.gtsrb_cnn import GtsrbCNN
from blurnet.nets.image_size import image_size
from blurnet.nets.lisa_cnn import LisaCNN
from blurnet.nets.resnet_32 import ResNet32
from blurnet.nets.vision import timm_net, torchvision_net
from blurnet.strict import check_arguments
from blurnet.transforms.base import Transform, defend
from blurnet.transforms.bilateral import Bilateral
from blurnet.transforms.bit_depth import BitDepth
from blurnet.transforms.class_inpainting.class_inpainting import ClassInpainting
from blurnet.transforms.deep_image_prior.deep_image_prior import DeepImagePrior
from blurnet.transforms.gaussian import Gaussian
from blurnet.transforms.jpeg.jpeg import JPEG
from blurnet.transforms.lgs.lgs import LGS
from blurnet.transforms.median import Median
from blurnet.transforms.non_local_means import NonLocalMeans
from blurnet.transforms.random_resize_pad import RandomResizePad
from blurnet.transforms.total_variation import TotalVariationMin
from blurnet.transforms.watermark.watermark import DigitalWatermark
from blurnet.transforms.wavelet import Wavelet
from blurnet.zoo.spec import DefenseSpec, Fit, ModelSpec


def _timm(
    name: str,
    classes: int | None = None,
    weights: str | None = None,
    *,
    pad_type: str | None = None,
    drop_rate: float = 0.0,
) -> nn.Module:
    """timm_net with the arguments a spec may give: timm's own also take files to load and modules to import."""
    arguments: dict[str, Any] = {"drop_rate": drop_rate} | ({} if pad_type is None else {"pad_type": pad_type})
    return timm_net(name, classes, weights, **arguments)


#: Nets of this package: constructors that take ``classes``; each states its ``image_size``.
NETS: dict[str, Callable[..., nn.Module]] = {"lisa_cnn": LisaCNN, "gtsrb_cnn": GtsrbCNN, "resnet_32": ResNet32}

#: Nets of other libraries, named "torchvision/resnet18" or "timm/mobilenetv2_100".
LIBRARIES: dict[str, Callable[..., nn.Module]] = {"torchvision": torchvision_net, "timm": _timm}

#: Defenses that take maps of any range: in front of the net or anywhere inside.
LAYERS: dict[str, Callable[..., nn.Module]] = {
    "feature_denoise": FeatureDenoise,
    "fixed_low_pass": FixedLowPass,
    "learned_low_pass": LearnedLowPass,
    "tikhonov": Tikhonov,
    "total_variation": TotalVariation,
}

#: Defenses that take images in [0, 1]: in front of the net only.
TRANSFORMS: dict[str, Callable[..., Transform]] = {
    "lgs": LGS,
    "bilateral": Bilateral,
    "bit_depth": BitDepth,
    "class_inpainting": ClassInpainting,
    "digital_watermark": DigitalWatermark,
    "dip": DeepImagePrior,
    "gaussian": Gaussian,
    "jpeg": JPEG,
    "median": Median,
    "non_local_means": NonLocalMeans,
    "random_resize_pad": RandomResizePad,
    "total_variation_min": TotalVariationMin,
    "wavelet": Wavelet,
}

#: Defenses around the whole net, its transformations included: first of all, since their masks stand in front of
#: everything. One that only raises alarms has no place here: it answers as the net does.
CERTIFIED: dict[str, Callable[..., CertifiedModel]] = {"derandomized": Derandomized, "double_masking": DoubleMasking}

DEFENSES: dict[str, Callable[..., nn.Module]] = {**LAYERS, **TRANSFORMS, **CERTIFIED}


def build(spec: ModelSpec, weights: str | os.PathLike[str] | None = None) -> nn.Module:
    """The module a spec describes, randomly initialised, in training mode, on the CPU.

    Args:
        spec: net, classes and defenses. A defense without a place stands in front: the result is then a Sequential
            of the input defenses (children named as in the spec) and "net". ``learned_low_pass`` and
            ``feature_denoise`` find their number of channels from their place where ``args`` does not give it. A
            certified defense comes first and holds all of this as its "model".
        weights: starting weights of the undefended net, loaded before anything is inserted: a .safetensors file,
            or for library nets a name such as "DEFAULT". Not part of a spec, which names no files.

    Raises:
        ValueError: unknown net, defense or argument (lists what exists), no classes, or weights that do not fit.
        TypeError: an argument of the wrong type. KeyError: no such layer (lists the layers).
    """
    certified, defenses = _certified_first(spec.defenses)
    net = build_net(spec, weights)
    places: dict[tuple[str, str], list[nn.Module]] = {}
    front: OrderedDict[str, nn.Module] = OrderedDict()
    for defense in defenses:
        module = _defense(defense, net, spec)
        if defense.after is None and defense.before is None:
            front[_free_name(defense.name, front)] = module
        else:
            side = "after" if defense.before is None else "before"
            places.setdefault((side, defense.after or defense.before or ""), []).append(module)
    # Inner layers first: an insertion changes the names of what lies inside the layer it wraps.
    for (side, layer), modules in sorted(places.items(), key=lambda item: -item[0][1].count(".")):
        net = (insert_after if side == "after" else insert_before)(net, layer, *modules)
    for module in front.values():
        if isinstance(module, Transform):
            module.attach(net)
    whole = nn.Sequential(OrderedDict([*front.items(), ("net", net)])) if front else net
    return whole if certified is None else _around(whole, certified)


def put_in_front(net: nn.Module, defenses: Sequence[DefenseSpec]) -> nn.Module:
    """A model behind further defenses, in the order given, which shares its parameters.

    Args:
        net: images in [0, 1] to logits.
        defenses: input transformations, as :func:`make_transforms` takes them; before them may stand one certified
            defense, around all of it.

    Raises:
        ValueError: as :func:`make_transforms`; a certified defense that is not the first, or transformations in front
            of a model that is one. TypeError: an argument of the wrong type.
    """
    certified, rest = _certified_first(defenses)
    if rest:
        if isinstance(net, CertifiedModel):
            raise ValueError(
                f"{rest[0].name!r} in front of {type(net).__name__} would spread a patch beyond its masks, and its "
                "certificate would be void; put the transformation into the model that it wraps"
            )
        net = defend(net, *make_transforms(rest))
    return net if certified is None else _around(net, certified)


def _certified_first(defenses: Sequence[DefenseSpec]) -> tuple[DefenseSpec | None, list[DefenseSpec]]:
    """The certified defense that a list begins with, if it does, and the others."""
    if late := [defense.name for defense in defenses[1:] if defense.name in CERTIFIED]:
        raise ValueError(
            f"{late[0]!r} must be the first defense, and the only one of its kind: its masks stand in front of "
            f"everything; got {[defense.name for defense in defenses]}"
        )
    if not defenses or defenses[0].name not in CERTIFIED:
        return None, list(defenses)
    if defenses[0].after or defenses[0].before:
        raise ValueError(f"{defenses[0].name!r} is around the whole net: leave out after and before, got {defenses[0]}")
    return defenses[0], list(defenses[1:])


def _around(net: nn.Module, defense: DefenseSpec) -> nn.Module:
    constructor, where = CERTIFIED[defense.name], f"defense {defense.name!r}: args"
    return constructor(net, **check_arguments(constructor, defense.args, where, given=("model", "mask_set")))


def make_transforms(defenses: Iterable[DefenseSpec]) -> tuple[Transform, ...]:
    """The input transformations that specs describe, for :func:`blurnet.transforms.base.defend` and any model.

    Raises:
        ValueError: unknown or no input transformation (lists what exists), a place, or unknown arguments.
        TypeError: an argument of the wrong type.
    """
    made = []
    for defense in defenses:
        if defense.name not in TRANSFORMS:
            there = ", ".join(sorted(TRANSFORMS))
            why = " but a layer, which stands in a net when it is trained" if defense.name in LAYERS else ""
            raise ValueError(f"{defense.name!r} is no input transformation{why}; there are: {there}")
        if defense.after or defense.before:
            raise ValueError(f"defense {defense.name!r} takes images: leave out after and before, got {defense}")
        constructor = TRANSFORMS[defense.name]
        made.append(constructor(**check_arguments(constructor, defense.args, f"defense {defense.name!r}: args")))
    return tuple(made)


def build_net(spec: ModelSpec, weights: str | os.PathLike[str] | None = None) -> nn.Module:
    """The net of a spec without its defenses; arguments and errors as in :func:`build`."""
    if not spec.classes:
        raise ValueError(f"{spec.net}: the spec states no classes; use spec.with_classes(data.classes)")
    library, _, name = spec.net.rpartition("/")
    if spec.net not in NETS and not (library in LIBRARIES and re.fullmatch(r"\w[\w.]*", name)):
        raise ValueError(f"unknown net {spec.net!r}; there are: {', '.join(_net_names())}")
    constructor = NETS[spec.net] if spec.net in NETS else LIBRARIES[library]
    reserved = ("name", "classes", "weights")
    args = check_arguments(constructor, spec.net_args, f"net {spec.net!r}: net_args", given=reserved)
    count = len(spec.classes)
    if weights is None or Path(weights).suffix:  # a file, of whatever kind: load_weights checks it
        net = constructor(name, count, **args) if library else constructor(count, **args)
        return net if weights is None else load_weights(net, weights)
    if not library:
        raise ValueError(f"{spec.net}: weights: expected a .safetensors file, got {weights!r}")
    net = constructor(name, None, weights, **args)
    if (outputs := _shape(net, spec, None)[1]) != count:
        raise ValueError(f"{spec.net}: weights {weights!r} have {outputs} outputs, the spec {count} classes")
    return net


def _defense(defense: DefenseSpec, net: nn.Module, spec: ModelSpec) -> nn.Module:
    if defense.name not in DEFENSES:
        raise ValueError(f"unknown defense {defense.name!r}; there are: {', '.join(sorted(DEFENSES))}")
    if defense.name in TRANSFORMS:
        return make_transforms([defense])[0]
    constructor, args = DEFENSES[defense.name], defense.args
    if constructor in (LearnedLowPass, FeatureDenoise) and "channels" not in args:
        args = {**args, "channels": _channels(defense, net, spec)}
    return constructor(**check_arguments(constructor, args, f"defense {defense.name!r}: args"))


def _channels(defense: DefenseSpec, net: nn.Module, spec: ModelSpec) -> int:
    """Channels of the maps at the place of a defense."""
    layer = defense.after or defense.before
    if layer is None:
        return 3
    if layer not in dict(net.named_modules()):
        insert_after(net, layer, nn.Identity())  # raises, listing the layers
    return _shape(net, spec, layer, of_input=defense.after is None)[1]


def _shape(net: nn.Module, spec: ModelSpec, layer: str | None, *, of_input: bool = False) -> tuple[int, ...]:
    """Shape of what a layer (None: the whole net) gives or takes when one black image passes; modes are kept."""
    shapes: list[tuple[int, ...]] = []

    def look(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        value = inputs[0] if of_input else output
        if isinstance(value, torch.Tensor) and value.ndim > 1:
            shapes.append(tuple(value.shape))

    module = net if layer is None else net.get_submodule(layer)
    handle = module.register_forward_hook(look)
    try:
        with resting(net):
            net(torch.zeros(1, 3, *images_of(spec, net)[0]))
    finally:
        handle.remove()
    if not shapes:
        raise ValueError(f"{spec.net}: layer {layer!r} passes no feature maps; give args: channels")
    return shapes[0]


def images_of(spec: ModelSpec, net: nn.Module) -> tuple[tuple[int, int], Fit]:
    """(H, W) and fit of the images for a net that ``spec`` describes: what the spec states, else what is usual.

    Usual is the size that the net states (224 x 224 where it states none), and "stretch" for the nets of this package,
    which take signs, "crop" for others.
    """
    return spec.image_size or image_size(net) or (224, 224), spec.fit or ("stretch" if spec.net in NETS else "crop")


def _free_name(name: str, taken: OrderedDict[str, nn.Module]) -> str:
    """Child names: lgs, then lgs_2 for a second one."""
    count = 1 + sum(key == name or key.startswith(f"{name}_") for key in taken)
    return name if count == 1 else f"{name}_{count}"


def _net_names() -> list[str]:
    models = torchvision.models
    return [*sorted(NETS), *(f"torchvision/{n}" for n in models.list_models(module=models)), "timm/NAME"]
