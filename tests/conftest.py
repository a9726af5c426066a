"""Fixtures shared by the whole suite."""

import os
from pathlib import Path

import pytest
import torch

# Two threads on a two-core machine fight with xdist's workers; one each is faster and repeatable.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data (BLURNET_SHARED_DATA); the test skips where there is none."""
    folder = os.environ.get("BLURNET_SHARED_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("real data absent: set BLURNET_SHARED_DATA to the folder that holds rp2-lisa/ and lisa-crops/")
    return Path(folder)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
