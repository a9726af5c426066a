"""Augmentation of a whole batch on its own device: crops, mirror images, brightness, pixel shifts, Gaussian noise."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def augment(
    images: Tensor,
    generator: torch.Generator,
    brightness: float = 0.3,
    shift: int = 2,
    noise: float = 0.0,
    crop: float = 1.0,
    flip: bool = False,
) -> Tensor:
    """Vary each image on its own.

    Args:
        images: (N, C, H, W) in [0, 1]; not modified.
        generator: source of all draws, on the device of ``images``.
        brightness: pixels are multiplied by one factor an image, uniform in [1 - brightness, 1 + brightness].
        shift: whole-pixel translation, uniform in [-shift, shift] on each axis, borders replicated.
        noise: standard deviation of additive Gaussian noise, in pixel units.
        crop: each image is replaced by a rectangle of it, its area uniform in [crop, 1] of the image's and its sides in
            a ratio of 3/4 to 4/3, scaled back to H x W (Szegedy et al. 2015; 0.08 there). 1 keeps the whole image.
        flip: half of the images are mirrored left to right. Not for signs.

    Returns:
        Images (N, C, H, W) in [0, 1].
    """
    device, n = images.device, len(images)
    if crop < 1 or flip:
        images = _cropped(images, crop, flip, generator)
    if shift:
        images = _shifted(images, shift, generator)
    if brightness:
        factor = 1 + brightness * (2 * torch.rand(n, 1, 1, 1, generator=generator, device=device) - 1)
        images = images * factor
    if noise:
        images = images + noise * torch.randn(images.shape, generator=generator, device=device)
    return images.clamp(0, 1) if brightness or noise else images


def _cropped(images: Tensor, smallest: float, flip: bool, generator: torch.Generator) -> Tensor:
    """Rectangles inside the images, read bilinearly; a crop never shrinks, so nothing needs antialiasing."""
    n, device = len(images), images.device
    area, ratio, down, right, mirror = torch.rand(5, n, generator=generator, device=device)
    area = smallest + (1 - smallest) * area
    ratio = torch.exp(math.log(4 / 3) * (2 * ratio - 1) / 2) if smallest < 1 else torch.ones_like(ratio)
    height, width = (area.sqrt() / ratio).clamp(max=1), (area.sqrt() * ratio).clamp(max=1)
    side = 1 - 2 * (mirror < 0.5).to(images) if flip else torch.ones_like(width)
    theta = images.new_zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = width * side, (1 - width) * (2 * right - 1)
    theta[:, 1, 1], theta[:, 1, 2] = height, (1 - height) * (2 * down - 1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _shifted(images: Tensor, shift: int, generator: torch.Generator) -> Tensor:
    n, channels, height, width = images.shape
    moves = torch.randint(-shift, shift + 1, (2, n, 1), generator=generator, device=images.device)
    rows = (torch.arange(height, device=images.device) + moves[0]).clamp_(0, height - 1)  # clamping replicates
    cols = (torch.arange(width, device=images.device) + moves[1]).clamp_(0, width - 1)
    index = (rows[:, :, None] * width + cols[:, None, :]).view(n, 1, -1).expand(n, channels, -1)
    return images.flatten(2).gather(2, index).view_as(images)
