"""The victim net of RP2 and BlurNet."""

import torch
from torch import Tensor, nn


class LisaCNN(nn.Module):
    """Three convolutions and one dense layer for 32 x 32 signs: 726,354 parameters at 18 outputs.

    Input: RGB (N, 3, 32, 32) in [0, 1], not normalised. Output: logits (N, classes). Maps after the three
    convolutions are 16, 6 and 2 pixels wide. Keras' SAME padding of the first layer is symmetric here: 3 pixels.

    Args:
        classes: outputs. The RP2 authors' net has 18, of which output 0 is unused (labels are 1-based).
        input_dropout: share of input values dropped while training (the authors trained with 0.2).
        dropout: share of values dropped behind the last ReLU while training (the authors trained with 0.5).

    Source: evtimovi/robust_physical_perturbations, lisa-cnn-attack (cnn_model and the released training graph).
    """

    image_size = (32, 32)  #: (H, W) of its images, in pixels

    def __init__(self, classes: int = 18, input_dropout: float = 0.0, dropout: float = 0.0) -> None:
        super().__init__()
        self.input_dropout = nn.Dropout(input_dropout)
        self.conv1 = nn.Conv2d(3, 64, 8, stride=2, padding=3)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(64, 128, 6, stride=2)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(128, 128, 5)
        self.relu3 = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(512, classes)
        for module in (self.conv1, self.conv2, self.conv3, self.fc):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, 32, 32) in [0, 1]."""
        x = self.relu1(self.conv1(self.input_dropout(x)))
        x = self.relu2(self.conv2(x))
        x = self.dropout(self.relu3(self.conv3(x)))
        return self.fc(torch.flatten(x, 1))  # type: ignore[no-any-return]
