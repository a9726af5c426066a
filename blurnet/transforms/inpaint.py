"""Filling a region of an image from what surrounds it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.bpda import bpda
from blurnet.transforms.common import by_blocks, prepare, rounded_into_range

Inpainting = Literal["diffusion", "telea", "navier-stokes"]


def inpaint(x: Tensor, mask: Tensor, method: Inpainting = "diffusion", radius: float = 5.0, steps: int = 8) -> Tensor:
    """Replace the pixels under a mask by what their surroundings suggest; the others stay bit for bit.

    "diffusion" fills from coarse to fine, each level with the mean of the pixels known there, then lets the values
    diffuse inside the mask. It is linear in the pixels outside of the mask, batched, and runs on any device. "telea"
    and "navier-stokes" are OpenCV's, 8 bits, image by image on the CPU; their gradient is that of "diffusion".

    Args:
        x: images (N, C, H, W) in [0, 1], C 1 or 3 for OpenCV's.
        mask: zeros and ones (N, 1, H, W) or (1, 1, H, W); may be empty, and an image that is all mask turns gray.
        method: see above.
        radius: OpenCV's neighbourhood in pixels.
        steps: of the diffusion at the finest level.

    Returns:
        Images (N, C, H, W) in [0, 1].

    Raises:
        TypeError, ValueError: bad images, mask or settings. ImportError: OpenCV is missing.

    Source: Telea 2004; Bertalmio et al. 2001 (Navier-Stokes).
    """
    check_inpainting(method, radius)
    images = prepare(x)
    if mask.ndim != 4 or mask.shape[1] != 1 or mask.shape[-2:] != x.shape[-2:] or len(mask) not in (1, len(x)):
        raise ValueError(f"inpaint: expected a mask (N, 1, H, W) for images {tuple(x.shape)}, got {tuple(mask.shape)}")
    inside = mask.detach().to(device=x.device, dtype=torch.bool).expand(len(x), 1, *x.shape[-2:])
    needed = method == "diffusion" or (x.requires_grad and torch.is_grad_enabled())
    fill = x
    if needed:
        # The mask travels as a further channel, so that blocks of images bring theirs along.
        both = torch.cat((images, inside.to(images)), 1)
        fill = by_blocks(lambda part: _diffused(part[:, :-1], part[:, -1:] > 0, steps), both)
        fill = rounded_into_range(fill, x.dtype)
    if method != "diffusion":
        value = _opencv(images.detach(), inside, method, radius).to(x.dtype)
        fill = bpda(value, fill) if needed else value
    return torch.where(inside, fill, x)


def check_inpainting(method: str, radius: float) -> None:
    """Require a known method, its library and a positive radius; ValueError or ImportError."""
    if method not in get_args(Inpainting):
        raise ValueError(f"inpainting: expected one of {list(get_args(Inpainting))}, got {method!r}")
    if not 0 < radius < float("inf"):
        raise ValueError(f"inpainting radius: expected a positive finite number, got {radius!r}")
    if method != "diffusion":
        _cv2()


def _diffused(x: Tensor, inside: Tensor, steps: int) -> Tensor:
    known = (~inside).to(x)
    filled = _pulled_and_pushed(x * known, known)
    box = _box(inside)
    x, known, part = x[box], known[box].bool(), filled[box].clone()
    for _ in range(steps):
        padded = F.pad(part, (1, 1, 1, 1), mode="replicate")
        mean = (padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1]).add_(padded[..., 1:-1, :-2])
        part = torch.where(known, x, mean.add_(padded[..., 1:-1, 2:]).div_(4))
    filled[box] = part
    return filled


def _box(inside: Tensor) -> Any:
    """The box around every masked pixel of the batch and one pixel more: nothing else takes part in the diffusion."""
    edges = []
    for dim in (-2, -1):
        marked = inside.any(0).any(0).any(dim=-3 - dim).nonzero()[:, 0]
        first, last = (int(marked[0]), int(marked[-1])) if len(marked) else (0, -1)
        edges.append(slice(max(first - 1, 0), last + 2))
    return (..., *edges)


def _pulled_and_pushed(values: Tensor, known: Tensor) -> Tensor:
    """``values`` where known is 1, else the upsampled answer of the same question at half the size."""
    height, width = values.shape[-2:]
    if height == width == 1:
        return torch.where(known > 0, values / known.clamp(min=1e-6), 0.5)
    halves = (F.avg_pool2d(map_, 2, ceil_mode=True, count_include_pad=False) for map_ in (values, known))
    coarse = _pulled_and_pushed(*halves)
    return values + (1 - known) * F.interpolate(coarse, (height, width), mode="bilinear")


def _opencv(x: Tensor, inside: Tensor, method: str, radius: float) -> Tensor:
    cv2 = _cv2()
    flag = cv2.INPAINT_TELEA if method == "telea" else cv2.INPAINT_NS
    if x.shape[1] not in (1, 3):
        raise ValueError(f"inpaint: OpenCV takes 1 or 3 channels, got {tuple(x.shape)}")
    pixels = (x * 255).round_().to("cpu", torch.uint8).movedim(1, -1).contiguous().numpy()
    masks = inside[:, 0].to("cpu", torch.uint8).contiguous().numpy()

    def fill(i: int) -> Tensor:
        filled = np.asarray(cv2.inpaint(pixels[i], masks[i], radius, flag))
        return torch.from_numpy(filled.reshape(pixels[i].shape))

    with ThreadPoolExecutor(min(len(pixels), torch.get_num_threads())) as pool:
        return torch.stack(list(pool.map(fill, range(len(pixels))))).to(x.device).movedim(-1, 1).to(x.dtype) / 255


def _cv2() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise ImportError("OpenCV's inpainting needs it: pip install 'blurnet[transforms]'") from error
    return cv2
