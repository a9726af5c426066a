"""A small round patch."""

import pytest
import torch

from blurnet.attacks.universal.patch import Patch, disc


@pytest.fixture
def patch() -> Patch:
    pixels = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(0))
    return Patch(pixels, disc(12), target=3, area=0.1, meta={"attack": "AdversarialPatch(…)"})
