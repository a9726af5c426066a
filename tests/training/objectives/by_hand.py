"""Losses and ascents written out, to hold the objectives against."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blurnet.training.objectives.base import Objective

RADIUS, STEP = 0.05, 0.02


def numbers() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def value_of(objective: Objective, net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The loss in evaluation mode, where two passes of a net with batch statistics give the same logits."""
    return objective.loss(net.eval(), *batch, numbers())[0]


def bare_ascent(net: nn.Module, images: Tensor, start: Tensor, steps: int, size: float, value: Any) -> Tensor:
    x = start
    for _ in range(steps):
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(value(net(x)), x)
        x = x.detach() + size * gradient.sign()
        x = images + (x - images).clamp(-RADIUS, RADIUS)
        x = x.clamp(0, 1)
    return x


def away(labels: Tensor) -> Any:
    return lambda logits: F.cross_entropy(logits, labels, reduction="sum")
