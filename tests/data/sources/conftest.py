"""A small clone of RP2's repository."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from blurnet.data.labels import LISA_CLASSES
from blurnet.data.sources.rp2 import RUNS
from blurnet.masks import rp2_stickers
from blurnet.nets.lisa_cnn import LisaCNN
from tests.data.sources import test_tf_checkpoint as tf_writer
from tests.data.sources.keras import keras_variables


@pytest.fixture(scope="module")
def state():
    generator = torch.Generator().manual_seed(0)
    return {k: torch.randn(v.shape, generator=generator) for k, v in LisaCNN().state_dict().items()}


@pytest.fixture
def clone(tmp_path, pristine):
    return shutil.copytree(pristine, tmp_path / "clone")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory, state):
    """A small clone of the authors' repository, in its real layout."""
    root = tmp_path_factory.mktemp("pristine") / "robust_physical_perturbations" / "lisa-cnn-attack"
    for folder in ("victim-set", "masks"):
        (root / folder).mkdir(parents=True)
    for number in (1, 2, 10, 15):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(root / "victim-set" / f"{number}.png")
    stickers = (rp2_stickers()[0, 0].numpy() * 255).astype(np.uint8)
    stickers[0, 0] = 2
    Image.fromarray(np.stack([stickers] * 3, 2)).save(root / "masks" / "mask_l1loss_uniform_rectangles.png")
    Image.new("RGB", (32, 32), (255, 255, 255)).save(root / "masks" / "octagon.png")
    (root / "npstriplets.txt").write_text("0.1,0.2,0.3\n1,0,0.5\n")
    (root / "mapping.txt").write_text("\n".join(LISA_CLASSES) + "\n")
    for i, (run, name) in enumerate(RUNS.items()):
        noise = np.random.default_rng(i).normal(size=(32, 32, 3)).astype(np.float32)
        variables = {**keras_variables(state), "noise": noise, "noise/Adam": noise}
        tf_writer.write_checkpoint(root / "optimization_output" / name / "model" / f"{name}-{350 + i}", variables)
        assert run in ("stickers", "poster")
    return root.parent
