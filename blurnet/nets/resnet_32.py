"""A small residual net for images of 32 pixels, after which it is named."""

import torch.nn.functional as F
from torch import Tensor, nn


class ResNet32(nn.Module):
    """A stem and four residual blocks with batch statistics for 32 x 32 signs: 605,394 parameters at 18 outputs.

    Input: RGB (N, 3, 32, 32) in [0, 1]; the net subtracts 0.5 itself, so that what a mask fills with 0.5 is 0 to it.
    Output: logits (N, classes). Maps are 16, 8, 4 and 4 pixels wide; their mean over all places is classified.

    Args:
        classes: outputs.
        width: channels of the first block; the others have twice and four times as many.
        dropout: share of the pooled values dropped while training.

    Source: He et al. 2016, "Deep residual learning for image recognition", section 4.2 (CIFAR-10), here wider and with
    fewer blocks; the widths and the stem of stride 2 are ours.
    """

    image_size = (32, 32)  #: (H, W) of its images, in pixels

    def __init__(self, classes: int = 18, width: int = 32, dropout: float = 0.0) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.block1 = _Block(width, width, 1)
        self.block2 = _Block(width, 2 * width, 2)
        self.block3 = _Block(2 * width, 4 * width, 2)
        self.block4 = _Block(4 * width, 4 * width, 1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, 32, 32) in [0, 1]."""
        maps = self.block4(self.block3(self.block2(self.block1(self.stem(x - 0.5)))))
        return self.fc(self.dropout(maps.mean(dim=(2, 3))))  # type: ignore[no-any-return]


class _Block(nn.Module):
    """Two 3 x 3 convolutions beside the identity, or beside a 1 x 1 convolution where the form changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        same = stride == 1 and channels == width
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(maps + self.shortcut(x))
