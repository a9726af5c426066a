"""Cards: JSON round trips, earlier versions, and every shipped card."""

import dataclasses
import json

import pytest

from blurnet.nets.vision import count_parameters
from blurnet.rates import Rate
from blurnet.zoo.card import Card, Published
from blurnet.zoo.models import list_models, load_model, models_root
from blurnet.zoo.readme import render_readme
from blurnet.zoo.spec import DefenseSpec
from tests.zoo.figures import GROUPED, RATE, figures, measured


def test_round_trip(card):
    assert Card.from_json(card.to_json()) == card
    full = measured(card, published=Published("a paper", accuracy=86.3), notes=["a note"], flags=["zero-gradient"])
    full = dataclasses.replace(full, per_image=[figures("pgd", "a ball", robust=GROUPED)])
    assert Card.from_json(full.to_json()) == full
    assert json.loads(full.to_json())["per_image"][0]["robust"]["groups"] == 2
    assert "groups" not in json.loads(full.to_json())["clean"]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"accuracy": 1}, ValueError, "allowed are .*'clean'"),
        ({"seed": "0"}, TypeError, "seed: expected int"),
        ({"clean": {"value": 1.0}}, TypeError, "missing"),
        ({"clean": {**RATE.as_dict(), "value": 55.0}}, TypeError, "20 in 40 is not 55.0 %"),
        ({"notes": "one"}, TypeError, "notes: expected a list"),
        ({"format": 3}, ValueError, '"format": 1 or 2, got 3'),
        ({"format": True}, ValueError, "got True"),
    ],
)
def test_bad_cards_are_refused(card, change, error, says):
    with pytest.raises(error, match=says):
        Card.from_json(json.dumps({**json.loads(card.to_json()), **change}))


def test_cards_of_format_1_are_read(card):
    full = measured(card)
    old = json.loads(full.to_json())
    average = old["rp2"].pop("average")
    old["rp2"] |= {"average": average["value"], "average_low": average["low"], "average_high": average["high"]}
    assert Card.from_json(json.dumps(old | {"format": 1})) == full
    assert Card.from_json(json.dumps(old | {"format": 1, "rp2": None})).rp2 is None
    with pytest.raises(TypeError, match=r"unknown .*average_high"):
        Card.from_json(json.dumps(old))


def test_a_victim_is_no_trial_for_each_target(card):
    """Earlier cards hold RP2's average with the interval of victims x targets trials: it is widened to victims."""
    full = measured(card)
    old = json.loads(full.to_json())
    old["rp2"]["average"] = Rate.of(32, 80).as_dict()
    assert Card.from_json(json.dumps(old)).rp2.average == Rate.pooled(32, 80, 40)
    resampled = Rate(40.0, 80, 32, 30.0, 50.0, 40)
    old["rp2"]["average"] = resampled.as_dict()
    assert Card.from_json(json.dumps(old)).rp2.average == resampled


def test_cards_of_earlier_versions_load(card, saved):
    old = json.loads((saved / "card.json").read_text())
    assert old.pop("objective") == "natural"
    assert [part["name"] for part in old.pop("defenses")] == ["fixed_low_pass", "learned_low_pass", "total_variation"]
    read = Card.from_json(json.dumps(old))
    assert (read.objective, read.defenses) == ("natural", None)
    assert "| defenses | not stated |" in render_readme(read)
    (saved / "card.json").write_text(json.dumps(old))
    assert load_model(saved).card.defenses == load_model(saved).spec.defenses
    with pytest.raises(TypeError, match="objective: expected str"):
        Card.from_json(json.dumps(old | {"objective": None}))


def test_a_card_of_other_defenses_is_refused(saved):
    card = Card.from_json((saved / "card.json").read_text())
    (saved / "card.json").write_text(dataclasses.replace(card, defenses=[DefenseSpec("lgs")]).to_json())
    with pytest.raises(ValueError, match=r"with the defenses lgs in front, the spec of fixed_low_pass in front; .*"):
        load_model(saved)


@pytest.mark.parametrize("name", list_models())
def test_every_shipped_card_holds(name):
    net = load_model(name)  # checks the hash
    folder = models_root() / name
    assert (folder / "README.md").read_text() == render_readme(net.card)
    assert net.card.name == name
    assert net.card.parameters == count_parameters(net)
    assert (folder / "card.json").read_text() == net.card.to_json()
    assert (folder / "spec.json").read_text() == net.spec.to_json()
    assert net.card.clean is not None
