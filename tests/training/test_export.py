"""What a trained net's card says of its training."""

import pytest

from blurnet.data.module import SyntheticData
from blurnet.rates import Rate
from blurnet.training.classifier import Classifier
from blurnet.training.export import export_model
from blurnet.training.objectives.table import ObjectiveSpec
from blurnet.zoo.models import load_model
from blurnet.zoo.spec import DefenseSpec


@pytest.mark.parametrize(
    ("objective", "said", "defense"),
    [
        (None, "natural", "lgs"),
        (ObjectiveSpec("pgd", {"radius": 0.0314, "steps": 7}), "pgd(radius=0.0314, steps=7)", "lgs+pgd"),
        (ObjectiveSpec("pgd"), "pgd(radius=0.0313725, steps=7)", "lgs+pgd"),  # what it costs by default
        (ObjectiveSpec("trades", {"beta": 3.0}), "trades(radius=0.0313725, steps=10, beta=3)", "lgs+trades"),
        (ObjectiveSpec("patch", {"steps": 4}), "patch(area=0.05, steps=4)", "lgs+patch"),
        (ObjectiveSpec("clp"), "clp", "lgs+clp"),
    ],
)
def test_the_card_states_objective_and_defenses(objective, said, defense, tmp_path):
    data = SyntheticData(train_size=20, val_size=20, test_size=20)
    data.setup("fit")
    data.setup("test")
    front = DefenseSpec("lgs", args={"smoothing": 2.3})
    classifier = Classifier(data.classes, defenses=[front], objective=objective)
    folder = export_model(classifier, data, tmp_path / "x", accuracy=Rate.of(1, 20), seed=0, command="c", seconds=61.04)
    card = load_model(folder).card
    assert (card.objective, card.defense, card.defenses, card.training_seconds) == (said, defense, [front], 61.0)
    assert card.title.startswith("lisa_cnn with lgs(smoothing=2.3) in front")
    assert (f"and {said} training" in card.title) == (objective is not None)
    readme = (folder / "README.md").read_text()
    assert f"| objective | `{said}` |" in readme
    assert "| defenses | lgs(smoothing=2.3) in front |" in readme
