"""Pixel normalisation as the first layer of a net."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

#: Channel means and deviations of ImageNet, as torchvision's weights expect them.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Normalize(nn.Module):
    """``(x - mean) / std`` per channel, so that a net takes pixels in [0, 1] and no loader normalises.

    Args:
        mean: one value a channel, in pixel units.
        std: one positive value a channel.

    Raises:
        ValueError: different lengths, or a deviation that is not positive.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD) -> None:
        super().__init__()
        if len(mean) != len(std) or not mean or min(std) <= 0:
            raise ValueError(f"Normalize: expected as many positive deviations as means, got {mean} and {std}")
        # Constants, not weights: they follow .to(device) but are no part of the state dict.
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise images (N, C, H, W)."""
        return (x - self.mean) / self.std

    def extra_repr(self) -> str:
        """The constants, for ``print(net)``."""
        return f"mean={self.mean.flatten().tolist()}, std={self.std.flatten().tolist()}"
