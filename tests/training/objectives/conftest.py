"""A small net with batch statistics, and a batch for it."""

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(96, 5)
    )


@pytest.fixture
def batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.rand(7, 3, 16, 16, generator=generator), torch.tensor([0, 1, 2, 3, 4, 0, 1])
