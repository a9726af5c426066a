"""The images that transformations are timed on."""

import torch
import torch.nn.functional as F
from torch import Tensor


def pictures(count: int, size: int, device: str = "cpu") -> Tensor:
    """Smooth random images with a noisy square of 2 % of the area, as a patch attack leaves them."""
    g = torch.Generator().manual_seed(0)
    x = F.interpolate(torch.rand(count, 3, 40, 40, generator=g), size, mode="bilinear")
    side = round(0.14 * size)
    x[..., :side, -side:] = torch.rand(count, 3, side, side, generator=g)
    return x.to(device)
