"""A small model folder to load, break and list."""

from pathlib import Path

import pytest
import torch
from torch import nn

from blurnet.rates import Rate
from blurnet.zoo.build import build
from blurnet.zoo.card import Card
from blurnet.zoo.models import save_model
from blurnet.zoo.spec import DefenseSpec, ModelSpec

SPEC = ModelSpec(
    classes=["stop", "yield", "merge"],
    defenses=[
        DefenseSpec("fixed_low_pass"),
        DefenseSpec("learned_low_pass", after="relu1", args={"kernel_size": 5, "linf": 0.1}),
        DefenseSpec("total_variation", after="relu1", args={"alpha": 1e-4}),
    ],
)
CARD = Card(
    title="LISA-CNN, learned low-pass 5 x 5",
    dataset="lisa",
    defense="learned_low_pass",
    data="crops, split by track",
    seed=3,
    command="python train.py fit --config linf5.yaml",
    clean=Rate(value=90.0, n=10, count=9, low=55.5, high=99.75),
    clean_set="held-out tracks",
)


@pytest.fixture(scope="session")
def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(SPEC).eval()


@pytest.fixture
def saved(net: nn.Module, tmp_path: Path) -> Path:
    return save_model(net, tmp_path / "lisa_cnn-linf5", spec=SPEC, card=CARD)


@pytest.fixture
def spec() -> ModelSpec:
    return SPEC


@pytest.fixture
def card() -> Card:
    return CARD
