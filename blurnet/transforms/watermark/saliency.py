"""Which pixels a net's answer depends on: gradients and guided gradients."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from blurnet.modes import attacking

_RELUS = {F.relu, F.relu_, F.relu6, F.hardtanh, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}


def saliency(net: nn.Module, x: Tensor, guided: bool = True) -> Tensor:
    """Absolute gradient of the highest logit, the largest over channels, scaled to [0, 1] for each image.

    Args:
        net: images to logits (N, classes). It runs in evaluation mode and is left as it was; no gradient is kept.
        x: images (N, C, H, W) in [0, 1].
        guided: stop negative gradients at every ReLU (and ReLU6) as well, wherever the net calls it; other
            activations pass plain gradients.

    Returns:
        (N, 1, H, W) in [0, 1], without a graph; 0 for an image without gradient. Works under ``no_grad`` and
        ``inference_mode``.

    Source: Simonyan et al. 2014 (gradient); Springenberg et al. 2015 (guided backpropagation).
    """
    with attacking(net):
        leaf = x.detach().clone().requires_grad_()
        with _GuidedReLU() if guided else torch.enable_grad():
            logits = net(leaf)
        (gradient,) = torch.autograd.grad(logits.amax(1).sum(), leaf)
    size = gradient.abs().amax(1, keepdim=True)
    largest = size.amax((-2, -1), keepdim=True)
    return torch.where(largest > 0, size / torch.where(largest > 0, largest, 1.0), 0.0)


class _GuidedReLU(TorchFunctionMode):
    """Lets only positive gradients into the output of a ReLU, from where they go on as usual."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in _RELUS and output.requires_grad:
            output.register_hook(lambda gradient: gradient.clamp(min=0))
        return output
