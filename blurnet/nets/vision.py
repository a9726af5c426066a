"""Classifiers of torchvision and timm behind one convention: pixels in [0, 1] in, logits out."""

from difflib import get_close_matches
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from blurnet.nets.normalize import Normalize


class Logits(nn.Module):
    """Keep the main logits of nets that return more while training (GoogLeNet, Inception v3)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        out = self.net(x)
        return out if isinstance(out, Tensor) else out.logits


def torchvision_net(name: str, classes: int | None = None, weights: str | None = None) -> nn.Sequential:
    """A torchvision classifier with its normalisation inside.

    Args:
        name: a name from ``torchvision.models.list_models(module=torchvision.models)``.
        classes: outputs; None keeps the 1000 of ImageNet. Not together with ``weights``.
        weights: None (random) or a name such as "DEFAULT" (downloaded by torchvision).

    Returns:
        Sequential with "normalize" and "net": RGB (N, 3, H, W) in [0, 1] to logits (N, classes); its ``image_size`` is
        (224, 224), that of ImageNet's recipe.

    Raises:
        ValueError: unknown name (lists what exists), unknown weights, or both ``classes`` and ``weights``.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise ValueError(f"torchvision net: no {name!r}; there are: {', '.join(known)}")
    _not_both(classes, weights)
    # GoogLeNet and Inception v3 warn about their slow initialisation unless told; others do not take the argument.
    extra = {"init_weights": True} if name in ("googlenet", "inception_v3") and weights is None else {}
    net = torchvision.models.get_model(name, weights=weights, **extra, **_outputs("num_classes", classes))
    return _with_normalize(Logits(net) if name in ("googlenet", "inception_v3") else net, Normalize(), (224, 224))


def timm_net(name: str, classes: int | None = None, weights: str | None = None, **arguments: Any) -> nn.Sequential:
    """A timm classifier (the extra ``blurnet[timm]``) with its own normalisation inside.

    Args:
        name: a name from ``timm.list_models()``.
        classes: outputs; None keeps timm's own. Not together with ``weights``.
        weights: None (random) or "DEFAULT" (downloaded by timm).
        arguments: passed to ``timm.create_model``, such as ``pad_type="same"``.

    Returns:
        Sequential with "normalize" and "net": RGB (N, 3, H, W) in [0, 1] to logits (N, classes); its ``image_size`` is
        that of timm's weights.

    Raises:
        ImportError: timm is not installed.
        ValueError: unknown name (shows near ones), or both ``classes`` and ``weights``.
    """
    try:
        import timm
    except ImportError as error:
        raise ImportError("timm nets need the extra: pip install 'blurnet[timm]'") from error
    if name not in timm.list_models():
        near = get_close_matches(name, timm.list_models(), n=20)
        raise ValueError(f"timm net: no {name!r}; near it: {', '.join(near) or 'see timm.list_models()'}")
    _not_both(classes, weights)
    net = timm.create_model(name, pretrained=weights is not None, **_outputs("num_classes", classes), **arguments)
    config: Any = net.default_cfg
    height, width = config["input_size"][1:]
    return _with_normalize(net, Normalize(config["mean"], config["std"]), (int(height), int(width)))


def _with_normalize(net: nn.Module, normalize: Normalize, image_size: tuple[int, int]) -> nn.Sequential:
    whole = nn.Sequential()
    whole.add_module("normalize", normalize)
    whole.add_module("net", net)
    vars(whole)["image_size"] = image_size
    return whole


def _outputs(argument: str, classes: int | None) -> dict[str, Any]:
    return {} if classes is None else {argument: classes}


def _not_both(classes: int | None, weights: str | None) -> None:
    if classes is not None and weights is not None:
        raise ValueError("give classes or weights, not both: pretrained weights fix the number of outputs")


def device_of(net: nn.Module) -> torch.device:
    """Where a net's first parameter or buffer lies; the CPU where it has none."""
    return next((tensor.device for tensor in (*net.parameters(), *net.buffers())), torch.device("cpu"))


def count_parameters(net: nn.Module) -> int:
    """Number of trainable and frozen parameters of a net."""
    return sum(p.numel() for p in net.parameters())
