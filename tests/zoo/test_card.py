"""Cards: JSON round trips, the README and the leaderboard made from them, and every shipped card."""

import dataclasses
import json

import pytest
import torch

from blurnet.nets.vision import count_parameters
from blurnet.rates import Rate
from blurnet.zoo.card import Card, ImageFigures, Published, RP2Figures
from blurnet.zoo.models import list_models, load_model, models_root
from blurnet.zoo.readme import render_leaderboard, render_readme
from blurnet.zoo.spec import DefenseSpec

RATE = Rate.of(20, 40)
GROUPED = Rate.over(torch.tensor([True, False, False]), "aab")


def figures(attack: str, threat: str, images: str = "40 images of rp2", robust: Rate = RATE) -> ImageFigures:
    return ImageFigures(attack, robust, threat, 42, images, "Settings()")


def rp2(**changes) -> RP2Figures:
    given = {
        "average": Rate.of(32, 80),
        "worst": RATE,
        "worst_target": "class 1",
        "dissimilarity": 0.21,
        "targets": 2,
        "n": 40,
        "victims": "40 victims of rp2, mask stickers",
        "settings": "RP2(lam=0.002)",
    }
    return RP2Figures(**given | changes)


def measured(card: Card, **changes) -> Card:
    given = {"clean": RATE, "clean_set": "held-out tracks", "rp2": rp2(), "sha256": "ab"}
    return dataclasses.replace(card, **given | changes)


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


def test_figures_on_single_images_are_found_by_attack(card):
    full = measured(card, per_image=[figures("autopatch", "a square")], held_out=[figures("pgd", "a ball")])
    assert full.under("autopatch").robust == RATE
    assert full.under("pgd") is None
    assert full.under_held_out("pgd").calls == 42
    text = render_readme(full)
    assert "| robust accuracy under autopatch, a square | 50.0 % [33.8, 66.2], n = 40; 42 model calls" in text
    assert "Sanity checks" not in text
    assert "Sanity checks raised: a, b." in render_readme(dataclasses.replace(full, flags=["a", "b"]))
    assert "raised no flag" in render_readme(dataclasses.replace(full, flags=[]))
    robust, plain = dataclasses.replace(full, name="b"), dataclasses.replace(card, name="a")
    text = render_leaderboard([plain, robust])
    assert text.index("[b]") < text.index("[a]")


def test_figures_on_held_out_images_stand_beside_those_of_the_victims(card):
    more = figures("autopatch", "a patch", "40 images of all classes", Rate.of(10, 40))
    full = measured(card, per_image=[figures("autopatch", "a patch")], held_out=[more])
    assert "robust accuracy under autopatch, 40 images of all classes | 25.0 %" in render_readme(full)
    assert "AutoPatch, held-out: a patch; 40 images of all classes." in render_leaderboard([full])


def test_readme_shows_measured_beside_published(card):
    text = render_readme(measured(card, name="x", published=Published("BlurNet, Table 2", worst=47.5)))
    assert "| RP2 success, average over targets | 40.0 % [29.2, 51.6], n = 80 (2 targets x 40) | - |" in text
    assert "| RP2 success, worst target | 50.0 % [33.8, 66.2], n = 40, class 1 | 47.5 % |" in text
    assert "| clean accuracy, held-out tracks | 50.0 % [33.8, 66.2], n = 40 | - |" in text
    assert "Published: BlurNet, Table 2." in text
    assert 'blurnet.load_model("x")' in text
    assert "| seed | 3 |" in text


def test_readme_says_what_was_not_measured(card):
    text = render_readme(card)
    assert "| RP2 success, average over targets | not measured |" in text
    assert "published" not in text


def test_leaderboard_puts_the_most_robust_first(card):
    cards = [
        dataclasses.replace(card, name="plain"),
        measured(card, name="robust"),
        dataclasses.replace(card, name="drawn", dataset="synthetic", defense="none|x"),
    ]
    text = render_leaderboard(cards)
    order = [text.index(part) for part in ("## lisa", "[robust]", "[plain]", "## synthetic", "[drawn]")]
    assert order == sorted(order)
    assert "none\\|x" in text
    assert render_leaderboard(reversed(cards)) == text


def test_leaderboard_says_once_what_all_rows_share(card):
    square, ball = "one square patch of 5 % of the image, anywhere", "the whole image, linf at most 8/255"
    first = dataclasses.replace(card, name="a", per_image=[figures("autopatch", square), figures("pgd", ball)])
    second = dataclasses.replace(first, name="b", objective="pgd(radius=0.0313725, steps=7)", training_seconds=1234.5)
    text = render_leaderboard([first, second])
    assert text.count(square) == text.count(ball) == 1
    assert f"AutoPatch: {square}; 40 images of rp2. PGD 8/255: {ball}" in text
    rate = "50.0 (33.8-66.2)"
    row = "| [b](b/README.md) | learned_low_pass | pgd(radius=0.0313725, steps=7) | from scratch | 1,234 s |"
    assert f"{row} 90.0 (55.5-99.8) | {rate} | - | {rate} | - | - |" in text
    assert "| natural | from scratch | - |" in text
    other = dataclasses.replace(second, per_image=[figures("autopatch", "inside the mask stickers")])
    text = render_leaderboard([first, other])
    assert f"| {rate}, {square}; 40 images of rp2 |" in text
    assert f"| {rate}, inside the mask stickers; 40 images of rp2 | - |" in text
    assert "AutoPatch: " not in text
    wider = dataclasses.replace(first, per_image=[figures("pgd", "the whole image, linf at most 16/255")])
    assert rate not in render_leaderboard([wider])  # not the radius that the column names


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


def test_readme_states_defenses_and_cost(saved):
    card = dataclasses.replace(
        load_model(saved).card, objective="trades(radius=0.1, steps=10)", training_seconds=1500.0
    )
    text = render_readme(card)
    first, second = "fixed_low_pass in front", "learned_low_pass(kernel_size=5, linf=0.1) after relu1"
    assert f"| defenses | {first}; {second}; total_variation(alpha=0.0001) after relu1 |" in text
    assert "| objective | `trades(radius=0.1, steps=10)` |" in text
    assert "| training time | 1,500 s |" in text
    front = [DefenseSpec("lgs", args={"smoothing": 2.3}), DefenseSpec("jpeg", before="conv1")]
    assert "| defenses | lgs(smoothing=2.3) in front; jpeg before conv1 |" in render_readme(
        dataclasses.replace(card, defenses=front)
    )
    assert "| defenses | none |" in render_readme(dataclasses.replace(card, defenses=[]))


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


def test_the_leaderboard_is_up_to_date():
    if not list_models():
        pytest.skip("no models in this checkout")
    cards = [load_model(name).card for name in list_models()]
    assert (models_root() / "README.md").read_text() == render_leaderboard(cards)
