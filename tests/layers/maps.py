"""Queries, keys and values for denoising."""

import torch
from torch import Tensor


def problem(d: int, c: int, h: int, w: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, n, h, w, generator=generator, dtype=torch.float64) for n in (d, d, c))
