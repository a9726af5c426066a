"""The fast path: chunk by chunk."""

import pytest
import torch

from blurnet.transforms.lgs import fast as lgs_fast
from blurnet.transforms.lgs.lgs import lgs
from tests.transforms.lgs.reading import image


def test_chunks_do_not_change_the_numbers(monkeypatch):
    x = image(5, 3, 32, 40).float()
    whole = lgs(x)
    monkeypatch.setattr(lgs_fast, "CPU_CHUNK", 2 * 32 * 40)
    assert torch.equal(lgs(x), whole)
    x[4, 0, 0, 0] = 1.5  # in the last chunk
    with pytest.raises(ValueError, match="images"):
        lgs(x)
