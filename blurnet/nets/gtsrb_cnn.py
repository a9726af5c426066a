"""The multi-scale net that RP2 attacks on GTSRB."""

import torch
from torch import Tensor, nn


class GtsrbCNN(nn.Module):
    """1 x 1 colour layer, three pooled stages whose outputs all reach the dense layers, for 32 x 32 signs.

    Input: RGB (N, 3, 32, 32) in [0, 1]; the net subtracts 0.5 itself, as the authors' does. Output: logits
    (N, classes). The concatenated maps have 14,336 values.

    Args:
        classes: outputs, 43 for GTSRB.
        dropout: share of values dropped behind each stage and each dense layer while training.

    Source: Yadav's multi-scale net as used by Eykholt et al. (RP2), gtsrb-cnn-attack.
    """

    image_size = (32, 32)  #: (H, W) of its images, in pixels

    def __init__(self, classes: int = 43, dropout: float = 0.5) -> None:
        super().__init__()
        self.color = nn.Conv2d(3, 3, 1)
        self.stage1 = _stage(3, 32, dropout)
        self.stage2 = _stage(32, 64, dropout)
        self.stage3 = _stage(64, 128, dropout)
        self.head = nn.Sequential(
            nn.Linear(14336, 1024),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(1024, 1024),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(1024, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, 32, 32) in [0, 1]."""
        one = self.stage1(self.color(x - 0.5))
        two = self.stage2(one)
        three = self.stage3(two)
        maps = torch.cat([torch.flatten(m, 1) for m in (one, two, three)], dim=1)
        return self.head(maps)  # type: ignore[no-any-return]


def _stage(channels: int, width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(width, width, 5, padding=2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Dropout(dropout),
    )
