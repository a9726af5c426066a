"""Local gradients smoothing as differentiable operations: the attacker's and the trainer's view."""

import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.filters import Windows, scaled_gradient
from blurnet.transforms.lgs.fast import low_passed
from blurnet.transforms.lgs.settings import LGSSettings


def lgs_formula(x: Tensor, settings: LGSSettings, windows: Windows) -> Tensor:
    """The values of :func:`~blurnet.transforms.lgs.lgs.lgs` to rounding, by Eq. 5-8 in turn, with gradient."""
    # Gates are counts and comparisons: half precision would flip them.
    with torch.autocast(x.device.type, enabled=False):
        images = x.to(torch.promote_types(x.dtype, torch.float32))
        source = images.mean(dim=1, keepdim=True) if settings.maps == "gray" else images
        gradient = scaled_gradient(source, settings.stencil)
        dense = _gate(gradient, settings, windows)
        u = (settings.smoothing * gradient * dense).clamp(0, 1)
        if settings.low_pass:
            images = images + dense * (low_passed(images, settings.low_pass) - images)
        return (images - images * u).to(x.dtype)


def _gate(gradient: Tensor, settings: LGSSettings, windows: Windows) -> Tensor:
    """Eq. 8: 1 at the pixels under a window whose mean exceeds the threshold, else 0; (N, 1, H, W)."""
    excess = windows.means(gradient) - settings.threshold
    if settings.gate == "soft":
        # 1 - prod(1 - sigmoid(z)) over the windows at a pixel: that any of them is dense.
        return 1 - torch.exp(-_spread(F.softplus(excess / settings.temperature), windows))
    hard = (_spread((excess > 0).to(gradient.dtype), windows) > 0).to(gradient.dtype)
    if settings.temperature == 0:
        return hard
    # Their average, not their union: the union's slope vanishes wherever one window is surely dense.
    gates = torch.sigmoid(excess / settings.temperature)
    soft = _spread(gates, windows) / _spread(torch.ones_like(gates), windows).clamp(min=1)
    return hard + (soft - soft.detach())


def _spread(values: Tensor, windows: Windows) -> Tensor:
    """Each pixel's sum over the windows that cover it, one value a window: (N, 1, H, W)."""
    kernel = values.new_ones(1, 1, windows.block, windows.block)
    total = F.conv_transpose2d(values, kernel, stride=windows.stride)
    missing = (0, max(0, windows.width - total.shape[-1]), 0, max(0, windows.height - total.shape[-2]))
    return F.pad(total, missing)[..., : windows.height, : windows.width]
