"""Images of a small made-up world: five classes, each a pattern of 4 x 4 fields under noise."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

CLASSES, SIZE = 5, 16


def drawing(generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Labels (N,) to images (N, 3, 16, 16); patterns and noise from the generator."""
    templates = F.interpolate(torch.rand(CLASSES, 3, 4, 4, generator=generator), SIZE)

    def draw(labels: Tensor) -> Tensor:
        return 0.25 + 0.2 * templates[labels] + 0.3 * torch.rand(len(labels), 3, SIZE, SIZE, generator=generator)

    return draw
