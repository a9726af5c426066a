"""Two images for nets of 32 x 32 pixels."""

import torch

X = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
