"""First derivatives of images by the usual stencils."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Stencil = Literal["forward", "central", "sobel"]

#: How many times the derivative per pixel a stencil gives: Sobel's weights sum to 8 on a ramp.
GAIN: dict[str, float] = {"forward": 1.0, "central": 1.0, "sobel": 8.0}


def derivatives(maps: Tensor, stencil: Stencil = "forward") -> tuple[Tensor, Tensor]:
    """Derivatives along the rows and along the columns.

    Args:
        maps: (N, C, H, W), at least 2 x 2.
        stencil: "forward" difference with the next pixel, the last one repeated; "central" as numpy.gradient,
            one-sided at the borders; "sobel" as scipy.ndimage.sobel with its default border.

    Returns:
        (across, down), each of the shape of ``maps``.

    Raises:
        ValueError: unknown stencil.
    """
    if stencil == "forward":
        return F.pad(maps.diff(dim=-1), (0, 1, 0, 0), mode="replicate"), F.pad(
            maps.diff(dim=-2), (0, 0, 0, 1), mode="replicate"
        )
    if stencil == "central":
        across = F.pad(maps.diff(dim=-1), (1, 1, 0, 0), mode="replicate")
        down = F.pad(maps.diff(dim=-2), (0, 0, 1, 1), mode="replicate")
        return (across[..., 1:] + across[..., :-1]) / 2, (down[..., 1:, :] + down[..., :-1, :]) / 2
    if stencil == "sobel":
        padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
        across, down = padded[..., 2:] - padded[..., :-2], padded[..., 2:, :] - padded[..., :-2, :]
        return (
            across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :],
            down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:],
        )
    raise ValueError(f"stencil: expected one of {list(GAIN)}, got {stencil!r}")
