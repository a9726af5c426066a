"""Fixtures shared by the whole suite."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from blurnet.nets.lisa_cnn import LisaCNN

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


@pytest.fixture(scope="session")
def authors_net(shared_data: Path) -> LisaCNN:
    """The LISA-CNN that RP2's authors attacked, in evaluation mode."""
    net = LisaCNN()
    net.load_state_dict(load_file(shared_data / "rp2-lisa" / "lisa_cnn.safetensors"))
    return net.eval()


@pytest.fixture(scope="session")
def victims(shared_data: Path) -> torch.Tensor:
    """RP2's 40 stop signs, (40, 3, 32, 32) in [0, 1]; class 14 of the authors' net."""
    files = sorted((shared_data / "rp2-lisa" / "victim-set").glob("*.png"))
    images = [torch.from_numpy(np.array(Image.open(file).convert("RGB"))) for file in files]
    return torch.stack(images).permute(0, 3, 1, 2).float() / 255
