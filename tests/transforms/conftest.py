"""Images for the comparisons with other libraries."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor


@pytest.fixture
def noise() -> Tensor:
    """Uniform noise, odd and not square: (2, 3, 20, 31)."""
    return torch.rand(2, 3, 20, 31, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def photos(shared_data: Path) -> Tensor:
    """Two photos, (2, 3, 299, 299) in [0, 1]."""
    files = sorted((shared_data / "imagenet-nips2017" / "images").glob("*.jpg"))[:2]
    if not files:
        pytest.skip("no photos: imagenet-nips2017/images is absent")
    pixels = [torch.from_numpy(np.array(Image.open(file).convert("RGB"))) for file in files]
    return torch.stack(pixels).movedim(-1, 1).float() / 255
