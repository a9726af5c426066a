"""Augmentation of a whole batch on its own device: brightness, pixel shifts, Gaussian noise; never flips."""

import torch
from torch import Tensor


def augment(
    images: Tensor, generator: torch.Generator, brightness: float = 0.3, shift: int = 2, noise: float = 0.0
) -> Tensor:
    """Vary each image on its own.

    Args:
        images: (N, C, H, W) in [0, 1]; not modified.
        generator: source of all draws, on the device of ``images``.
        brightness: pixels are multiplied by one factor an image, uniform in [1 - brightness, 1 + brightness].
        shift: whole-pixel translation, uniform in [-shift, shift] on each axis, borders replicated.
        noise: standard deviation of additive Gaussian noise, in pixel units.

    Returns:
        Images (N, C, H, W) in [0, 1].
    """
    device, n = images.device, len(images)
    if shift:
        images = _shifted(images, shift, generator)
    if brightness:
        factor = 1 + brightness * (2 * torch.rand(n, 1, 1, 1, generator=generator, device=device) - 1)
        images = images * factor
    if noise:
        images = images + noise * torch.randn(images.shape, generator=generator, device=device)
    return images.clamp(0, 1) if brightness or noise else images


def _shifted(images: Tensor, shift: int, generator: torch.Generator) -> Tensor:
    n, channels, height, width = images.shape
    moves = torch.randint(-shift, shift + 1, (2, n, 1), generator=generator, device=images.device)
    rows = (torch.arange(height, device=images.device) + moves[0]).clamp_(0, height - 1)  # clamping replicates
    cols = (torch.arange(width, device=images.device) + moves[1]).clamp_(0, width - 1)
    index = (rows[:, :, None] * width + cols[:, None, :]).view(n, 1, -1).expand(n, channels, -1)
    return images.flatten(2).gather(2, index).view_as(images)
