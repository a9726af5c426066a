"""Filling a region of an image from what surrounds it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.bounds import Positive, Steps
from blurnet.bpda import bpda
from blurnet.settings import Settings, takes
from blurnet.transforms._blocks import by_blocks, fill_blocks, prepare, records, side_by_side
from blurnet.transforms._opencv import needed

Inpainting = Literal["diffusion", "telea", "navier-stokes"]
Box = tuple[slice, slice]

_FEW = 1 / 16  #: share of masked pixels below which they are treated one by one


@dataclass(frozen=True)
class InpaintSettings(Settings):
    """Of :func:`inpaint`.

    Args:
        method: "diffusion", "telea" or "navier-stokes".
        radius: OpenCV's neighbourhood in pixels.
        steps: of the diffusion at the finest level.

    Raises:
        TypeError, ValueError: a value that is not allowed. ImportError: OpenCV is missing.
    """

    method: Inpainting = "diffusion"
    radius: Positive = 5.0
    steps: Steps = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method != "diffusion":
            needed(f"inpaint: method {self.method!r}")


@takes(InpaintSettings)
def inpaint(x: Tensor, mask: Tensor, settings: InpaintSettings) -> Tensor:
    """Replace the pixels under a mask by what their surroundings suggest; the others stay bit for bit.

    "diffusion" fills from coarse to fine, each level with the mean of the pixels known there, then lets the values
    diffuse inside the mask. It is linear in the pixels outside of the mask, batched, and runs on any device. "telea"
    and "navier-stokes" are OpenCV's, 8 bits, image by image on the CPU; their gradient is that of "diffusion".

    Args:
        x: images (N, C, H, W) in [0, 1], C 1 or 3 for OpenCV's.
        mask: zeros and ones (N, 1, H, W) or (1, 1, H, W); may be empty, and an image that is all mask turns gray.
        settings: the fields of :class:`InpaintSettings`, as arguments of their own.

    Returns:
        Images (N, C, H, W) in [0, 1].

    Raises:
        TypeError, ValueError: bad images, mask or settings. ImportError: OpenCV is missing.

    Source: Telea 2004; Bertalmio et al. 2001 (Navier-Stokes).
    """
    method = settings.method
    fills = method == "diffusion" or (x.requires_grad and torch.is_grad_enabled())
    copies = fills and not records(x)
    images = prepare(x, values=not copies)
    if mask.ndim != 4 or mask.shape[1] != 1 or mask.shape[-2:] != x.shape[-2:] or len(mask) not in (1, len(x)):
        raise ValueError(f"inpaint: expected a mask (N, 1, H, W) for images {tuple(x.shape)}, got {tuple(mask.shape)}")
    one = mask[:1] if mask.stride(0) == 0 else mask  # of a mask for all images one look is enough
    holes = one.detach().to(device=x.device, dtype=torch.bool)
    inside = holes.expand(len(x), 1, *x.shape[-2:])
    result = x
    if fills:
        result = fill_blocks(lambda part, out: out.copy_(part), images) if copies else images.clone()
        place = (..., *_surroundings(holes))
        box, filled = _filled(images[place], holes[place].to(images), settings.steps)
        result[place][(..., *box)] = filled
        result = result.to(x.dtype)
    if method != "diffusion":
        value = torch.where(inside, _opencv(images.detach(), inside, method, settings.radius).to(x.dtype), x.detach())
        result = bpda(value, result) if fills else value
    return result


def _filled(x: Tensor, inside: Tensor, steps: int) -> tuple[Box, Tensor]:
    """What the diffusion puts into a part of the images, and which part: around a common mask, or all."""
    if len(inside) == 1:
        box = _box(inside > 0)
        shape = torch.Size((x.shape[1], *(edge.stop - edge.start for edge in box)))
        return box, by_blocks(lambda part: _diffused(part, inside, box, steps), x, 2**20, shape)

    def paste(part: Tensor) -> Tensor:
        images, masks = part[:, :-1], part[:, -1:]
        box, result = _box(masks > 0), images.clone()
        result[(..., *box)] = _diffused(images, masks, box, steps)
        return result

    # The masks travel as a further channel, so that blocks of images bring theirs along.
    both = torch.cat((x, inside), 1)
    return (slice(None), slice(None)), by_blocks(paste, both, result=x.shape[1:])


def _diffused(x: Tensor, inside: Tensor, box: Box, steps: int) -> Tensor:
    """The images in the box, which holds every masked pixel and its neighbours."""
    known = 1 - inside
    coarse = _coarse_fill(_halved(x * known), _halved(known))
    place = (..., *box)
    kept, hole = x[place] * known[place], inside[place]  # products and sums: torch.where is slow with one mask for all
    part = torch.addcmul(kept, _doubled(coarse, box).clamp(max=1), hole)
    if len(hole) == len(part) and not torch.compiler.is_compiling() and bool(hole.mean() < _FEW):
        return _diffused_few(part, hole, steps)
    quarter = hole / 4
    for _ in range(steps):
        padded = F.pad(part, (1, 1, 1, 1), mode="replicate")
        total = (padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1]).add_(padded[..., 1:-1, :-2])
        part = torch.addcmul(kept, total.add_(padded[..., 1:-1, 2:]), quarter)
    return part


def _diffused_few(part: Tensor, hole: Tensor, steps: int) -> Tensor:
    """The same numbers where few pixels are masked: only these are worked on, (P, C)."""
    image, row, column = hole[:, 0].nonzero(as_tuple=True)
    height, width = part.shape[-2:]
    places = torch.full((len(part), height, width), -1, device=part.device)
    places[image, row, column] = torch.arange(len(image), device=part.device)
    beside = [
        (image, (row + down).clamp(0, height - 1), (column + across).clamp(0, width - 1))
        for down, across in ((-1, 0), (1, 0), (0, -1), (0, 1))
    ]
    number = torch.stack([places[place] for place in beside])
    fixed = torch.stack([part[i, :, r, c] for i, r, c in beside])
    moving = (number >= 0)[..., None]
    values = part[image, :, row, column]
    for _ in range(steps):
        up, down, left, right = torch.where(moving, values[number], fixed)
        values = (up + down + left + right) / 4
    result = part.clone() if records(part) else part
    result[image, :, row, column] = values
    return result


def _coarse_fill(values: Tensor, known: Tensor) -> Tensor:
    """Means where pixels are known, and where not, the doubled answer of the same question at half the size.

    ``values`` are sums over known pixels and ``known`` counts them. An image without any is gray.
    """
    height, width = known.shape[-2:]
    mean = values / known.clamp(min=1)
    if height == width == 1 or bool((known > 0).all()):  # what follows would not be used
        return torch.where(known > 0, mean, 0.5)
    coarse = _coarse_fill(_halved(values), _halved(known))
    unknown = (known == 0).to(mean)  # where the mean is 0
    return torch.addcmul(mean, _doubled(coarse, (slice(0, height), slice(0, width))), unknown)


def _halved(sums: Tensor) -> Tensor:
    """Sums over squares of 2 x 2, those at an odd border smaller."""
    sums = F.pad(sums, (0, sums.shape[-1] % 2, 0, sums.shape[-2] % 2))
    rows = sums[..., ::2, :] + sums[..., 1::2, :]
    return rows[..., ::2] + rows[..., 1::2]


def _doubled(coarse: Tensor, box: Box) -> Tensor:
    """The part under ``box`` of the maps at twice the size, bilinear."""
    top, left = (max(edge.start // 2 - 1, 0) for edge in box)
    part = coarse[..., top : box[0].stop // 2 + 2, left : box[1].stop // 2 + 2]
    doubled = F.interpolate(part, scale_factor=2, mode="bilinear")
    height, width = (edge.stop - edge.start for edge in box)
    return doubled[..., box[0].start - 2 * top :, box[1].start - 2 * left :][..., :height, :width]


def _box(inside: Tensor) -> Box:
    """Rows and columns around every masked pixel of the batch and one pixel more: nothing else takes part."""
    edges = []
    for dim, size in ((-1, inside.shape[-2]), (-2, inside.shape[-1])):
        marked = inside.any(0).any(0).any(dim).nonzero()[:, 0]
        first, last = (int(marked[0]), int(marked[-1])) if len(marked) else (0, -1)
        edges.append(slice(max(first - 1, 0), min(last + 2, size)))
    return edges[0], edges[1]


def _surroundings(inside: Tensor) -> Box:
    """Rows and columns that the filling depends on: the masked ones and two of the cells in which all is known.

    Cells begin where they would in the whole image, so that nothing changes but the work.
    """
    known, cell = (~inside).float(), 1
    while known.shape[-2:] != (1, 1) and not bool((known > 0).all()):
        known, cell = _halved(known), 2 * cell
    rows, columns = (
        slice(max(edge.start // cell - 2, 0) * cell, min((-(-edge.stop // cell) + 2) * cell, size))
        for edge, size in zip(_box(inside), inside.shape[-2:], strict=True)
    )
    return rows, columns


def _opencv(x: Tensor, inside: Tensor, method: str, radius: float) -> Tensor:
    cv2 = needed(f"inpaint: method {method!r}")
    flag = cv2.INPAINT_TELEA if method == "telea" else cv2.INPAINT_NS
    if x.shape[1] not in (1, 3):
        raise ValueError(f"inpaint: OpenCV takes 1 or 3 channels, got {tuple(x.shape)}")
    pixels = (x * 255).round_().to("cpu", torch.uint8).movedim(1, -1).contiguous().numpy()
    masks = inside[:, 0].to("cpu", torch.uint8).contiguous().numpy()

    def fill(i: int) -> Tensor:
        filled = np.asarray(cv2.inpaint(pixels[i], masks[i], radius, flag))
        return torch.from_numpy(filled.reshape(pixels[i].shape))

    filled = torch.stack(side_by_side(fill, len(pixels)))
    return filled.to(x.device).movedim(-1, 1).to(x.dtype) / 255
