"""Local gradients smoothing as differentiable operations: the attacker's and the trainer's view."""

import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.transforms._stencils import GAIN, derivatives
from blurnet.transforms.lgs.fast import low_passed
from blurnet.transforms.lgs.settings import Settings, Windows


def lgs_formula(x: Tensor, settings: Settings, windows: Windows) -> Tensor:
    """The values of :func:`~blurnet.transforms.lgs.lgs.lgs` to rounding, by Eq. 5-8 in turn, with gradient."""
    # Gates are counts and comparisons: half precision would flip them.
    with torch.autocast(x.device.type, enabled=False):
        images = x.to(torch.promote_types(x.dtype, torch.float32))
        source = images.mean(dim=1, keepdim=True) if settings.maps == "gray" else images
        gradient = _scaled(_magnitude(*derivatives(source, settings.stencil)), GAIN[settings.stencil])
        dense = _gate(gradient, settings, windows)
        u = (settings.smoothing * gradient * dense).clamp(0, 1)
        if settings.low_pass:
            images = images + dense * (low_passed(images, settings.low_pass) - images)
        return (images - images * u).to(x.dtype)


def _magnitude(across: Tensor, down: Tensor) -> Tensor:
    """Eq. 5; flat pixels take gradient 0, where the square root's slope is infinite."""
    square = across.square() + down.square()
    return torch.where(square > 0, torch.where(square > 0, square, 1.0).sqrt(), 0.0)


def _scaled(magnitude: Tensor, gain: float) -> Tensor:
    """Eq. 6, image by image; 0 for an image whose gradients differ by rounding errors only."""
    low, high = magnitude.amin(dim=(1, 2, 3), keepdim=True), magnitude.amax(dim=(1, 2, 3), keepdim=True)
    flat = high - low <= 8 * torch.finfo(magnitude.dtype).eps * gain
    return torch.where(flat, 0.0, (magnitude - low) / torch.where(flat, 1.0, high - low))


def _gate(gradient: Tensor, settings: Settings, windows: Windows) -> Tensor:
    """Eq. 8: 1 at the pixels under a window whose mean exceeds the threshold, else 0; (N, 1, H, W)."""
    height, width = windows.height, windows.width
    bottom, right = (max(0, covered - size) for covered, size in zip(windows.covered, (height, width), strict=True))
    padded = F.pad(gradient, (0, right, 0, bottom), mode="reflect") if bottom or right else gradient
    mean = F.avg_pool2d(padded, windows.block, windows.stride).mean(dim=1, keepdim=True)
    mean = mean[..., : windows.rows, : windows.columns]
    excess = mean - settings.threshold
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
