"""Losses and weights of training recipes against those of the recording."""

from pathlib import Path
from typing import Any

import golden_store
import golden_training
import pytest
from golden_training import RECIPES


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * recipe.slow) for name, recipe in RECIPES.items()]
)
def test_a_recipe_trains_as_it_did(name: str, tmp_path: Path) -> None:
    if why := golden_store.excepted("training", name):
        pytest.skip(why)
    found, golden = golden_training.train(RECIPES[name], tmp_path), golden_store.read_json(f"training/{name}")
    assert len(golden["logged"]["train/loss"]) == golden_training.STEPS
    exact = golden_store.same_machine()
    # On another machine losses alone: what a step of adversarial training does to a weight follows from signs.
    compared = golden if exact else {"logged": {k: v for k, v in golden["logged"].items() if "accuracy" not in k}}
    wrong = [
        f"{part}/{key}: {found[part].get(key)}, golden {value}"
        for part, values in compared.items()
        for key, value in values.items()
        if not _same(found[part].get(key), value, exact=exact)
        and not golden_store.excepted("training", name, f"{part}/{key}")
    ]
    assert not wrong, "\n".join(wrong)


def _same(found: Any, golden: Any, *, exact: bool) -> bool:
    if exact or not isinstance(golden, list):
        return bool(found == golden)
    return isinstance(found, list) and found == pytest.approx(golden, rel=golden_store.LOSS_RTOL, abs=1e-5)


def test_every_golden_training_has_a_recipe() -> None:
    recorded = {path.stem for path in (golden_store.DATA / "training").glob("*.json")}
    assert recorded == set(RECIPES)
