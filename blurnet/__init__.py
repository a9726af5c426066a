"""Defense layers, robust training, pretrained checkpoints and adaptive evaluation against stickers and patches.

Names load their file at first use, so that ``import blurnet`` costs little more than ``import torch``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blurnet.attacks.autopatch import AutoPatch
    from blurnet.attacks.blackbox import PatchRandomSearch, Square
    from blurnet.attacks.compose import BPDA, EOT, Transfer
    from blurnet.attacks.external import External
    from blurnet.attacks.gradient import FGSM, PGD
    from blurnet.attacks.hard_label import HardLabel
    from blurnet.attacks.lavan import LaVAN
    from blurnet.attacks.location import BestLocation
    from blurnet.attacks.low_frequency import LowFrequency
    from blurnet.attacks.patch import AdversarialPatch
    from blurnet.attacks.patch_files import load_imagenet_patch
    from blurnet.attacks.patch_pgd import PatchPGD
    from blurnet.attacks.patch_value import Patch
    from blurnet.attacks.penalty import WithPenalty
    from blurnet.attacks.poses import Poses
    from blurnet.attacks.rp2 import RP2, RP2Result
    from blurnet.attacks.worst_of import WorstOf
    from blurnet.balls import Ball
    from blurnet.layers.denoise import FeatureDenoise, denoise_resnet
    from blurnet.layers.insert import first_conv, insert_after, insert_before
    from blurnet.layers.lowpass import FixedLowPass, LearnedLowPass
    from blurnet.layers.penalties import Tikhonov, TotalVariation, penalties
    from blurnet.masks import Place, mask_from_image, octagon, rectangles, rp2_stickers
    from blurnet.nets.gtsrb_cnn import GtsrbCNN
    from blurnet.nets.lisa_cnn import LisaCNN
    from blurnet.nets.normalize import Normalize
    from blurnet.nets.vision import timm_net, torchvision_net
    from blurnet.transforms.base import Pipeline, Transform, adaptive, defend, identity_bpda, transforms_of
    from blurnet.transforms.bilateral import Bilateral
    from blurnet.transforms.bit_depth import BitDepth
    from blurnet.transforms.gaussian import Gaussian
    from blurnet.transforms.jpeg import JPEG
    from blurnet.transforms.lgs import LGS, lgs
    from blurnet.transforms.median import Median
    from blurnet.transforms.non_local_means import NonLocalMeans
    from blurnet.transforms.random_resize_pad import RandomResizePad
    from blurnet.transforms.total_variation import TotalVariationMin
    from blurnet.transforms.watermark import DigitalWatermark
    from blurnet.transforms.wavelet import Wavelet
    from blurnet.zoo.export import export_onnx, export_program
    from blurnet.zoo.models import list_models, load_model, save_model
    from blurnet.zoo.sharing import from_pretrained, push_to_hub

__version__ = "0.1.0"

_HOME = {
    "AdversarialPatch": "blurnet.attacks.patch",
    "AutoPatch": "blurnet.attacks.autopatch",
    "BPDA": "blurnet.attacks.compose",
    "Bilateral": "blurnet.transforms.bilateral",
    "BitDepth": "blurnet.transforms.bit_depth",
    "DigitalWatermark": "blurnet.transforms.watermark",
    "EOT": "blurnet.attacks.compose",
    "FGSM": "blurnet.attacks.gradient",
    "Gaussian": "blurnet.transforms.gaussian",
    "JPEG": "blurnet.transforms.jpeg",
    "LGS": "blurnet.transforms.lgs",
    "Median": "blurnet.transforms.median",
    "NonLocalMeans": "blurnet.transforms.non_local_means",
    "PGD": "blurnet.attacks.gradient",
    "RP2": "blurnet.attacks.rp2",
    "Ball": "blurnet.balls",
    "BestLocation": "blurnet.attacks.location",
    "External": "blurnet.attacks.external",
    "FeatureDenoise": "blurnet.layers.denoise",
    "FixedLowPass": "blurnet.layers.lowpass",
    "GtsrbCNN": "blurnet.nets.gtsrb_cnn",
    "HardLabel": "blurnet.attacks.hard_label",
    "LaVAN": "blurnet.attacks.lavan",
    "LearnedLowPass": "blurnet.layers.lowpass",
    "LisaCNN": "blurnet.nets.lisa_cnn",
    "LowFrequency": "blurnet.attacks.low_frequency",
    "Normalize": "blurnet.nets.normalize",
    "PatchPGD": "blurnet.attacks.patch_pgd",
    "Patch": "blurnet.attacks.patch_value",
    "PatchRandomSearch": "blurnet.attacks.blackbox",
    "Pipeline": "blurnet.transforms.base",
    "Place": "blurnet.masks",
    "Poses": "blurnet.attacks.poses",
    "RP2Result": "blurnet.attacks.rp2",
    "RandomResizePad": "blurnet.transforms.random_resize_pad",
    "Square": "blurnet.attacks.blackbox",
    "Tikhonov": "blurnet.layers.penalties",
    "TotalVariation": "blurnet.layers.penalties",
    "TotalVariationMin": "blurnet.transforms.total_variation",
    "Transfer": "blurnet.attacks.compose",
    "Transform": "blurnet.transforms.base",
    "Wavelet": "blurnet.transforms.wavelet",
    "WithPenalty": "blurnet.attacks.penalty",
    "WorstOf": "blurnet.attacks.worst_of",
    "adaptive": "blurnet.transforms.base",
    "defend": "blurnet.transforms.base",
    "denoise_resnet": "blurnet.layers.denoise",
    "export_onnx": "blurnet.zoo.export",
    "export_program": "blurnet.zoo.export",
    "first_conv": "blurnet.layers.insert",
    "from_pretrained": "blurnet.zoo.sharing",
    "identity_bpda": "blurnet.transforms.base",
    "insert_after": "blurnet.layers.insert",
    "insert_before": "blurnet.layers.insert",
    "lgs": "blurnet.transforms.lgs",
    "list_models": "blurnet.zoo.models",
    "load_imagenet_patch": "blurnet.attacks.patch_files",
    "load_model": "blurnet.zoo.models",
    "mask_from_image": "blurnet.masks",
    "octagon": "blurnet.masks",
    "penalties": "blurnet.layers.penalties",
    "push_to_hub": "blurnet.zoo.sharing",
    "rectangles": "blurnet.masks",
    "rp2_stickers": "blurnet.masks",
    "save_model": "blurnet.zoo.models",
    "timm_net": "blurnet.nets.vision",
    "torchvision_net": "blurnet.nets.vision",
    "transforms_of": "blurnet.transforms.base",
}

__all__ = [
    "BPDA",
    "EOT",
    "FGSM",
    "JPEG",
    "LGS",
    "PGD",
    "RP2",
    "AdversarialPatch",
    "AutoPatch",
    "Ball",
    "BestLocation",
    "Bilateral",
    "BitDepth",
    "DigitalWatermark",
    "External",
    "FeatureDenoise",
    "FixedLowPass",
    "Gaussian",
    "GtsrbCNN",
    "HardLabel",
    "LaVAN",
    "LearnedLowPass",
    "LisaCNN",
    "LowFrequency",
    "Median",
    "NonLocalMeans",
    "Normalize",
    "Patch",
    "PatchPGD",
    "PatchRandomSearch",
    "Pipeline",
    "Place",
    "Poses",
    "RP2Result",
    "RandomResizePad",
    "Square",
    "Tikhonov",
    "TotalVariation",
    "TotalVariationMin",
    "Transfer",
    "Transform",
    "Wavelet",
    "WithPenalty",
    "WorstOf",
    "__version__",
    "adaptive",
    "defend",
    "denoise_resnet",
    "export_onnx",
    "export_program",
    "first_conv",
    "from_pretrained",
    "identity_bpda",
    "insert_after",
    "insert_before",
    "lgs",
    "list_models",
    "load_imagenet_patch",
    "load_model",
    "mask_from_image",
    "octagon",
    "penalties",
    "push_to_hub",
    "rectangles",
    "rp2_stickers",
    "save_model",
    "timm_net",
    "torchvision_net",
    "transforms_of",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'blurnet' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
