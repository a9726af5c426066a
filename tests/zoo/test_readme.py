"""Cards for people: the README of a model and the leaderboard."""

import dataclasses

import pytest

from blurnet.rates import Rate
from blurnet.zoo.card import CertifiedFigures, Published
from blurnet.zoo.models import list_models, load_model, models_root
from blurnet.zoo.readme import render_leaderboard, render_readme
from blurnet.zoo.spec import DefenseSpec
from tests.zoo.figures import RATE, figures, measured


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


def test_what_is_proven_stands_in_card_and_leaderboard(card):
    few = CertifiedFigures(Rate.of(39, 40), RATE, "one patch of 7x7 pixels", 136, "40 victims")
    many = CertifiedFigures(Rate.of(50, 100), RATE, "one patch of 7x7 pixels", 40, "100 images of all classes")
    full = measured(card, certified=[many, few])
    text = render_readme(full)
    assert "| certified accuracy, one patch of 7x7 pixels, 40 victims | 97.5 % [" in text
    assert "; 136 views an image" in text
    assert "50.0 % [" in text
    table = render_leaderboard([full])
    assert "certified: one patch of 7x7 pixels; 100 images of all classes." in table
    assert f"| {many.certified.short} |" in table
    assert type(full).from_json(full.to_json()) == full


def test_readme_shows_measured_beside_published(card):
    text = render_readme(measured(card, name="x", published=Published("BlurNet, Table 2", worst=47.5)))
    average = "40.0 % [24.9, 56.7], n = 80 in 40 groups (2 targets x 40)"
    assert f"| RP2 success, average over targets | {average} | - |" in text
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
    assert f"{row} 90.0 (55.5-99.8) | {rate} | - | - | {rate} | - | - |" in text
    assert "| natural | from scratch | - |" in text
    other = dataclasses.replace(second, per_image=[figures("autopatch", "inside the mask stickers")])
    text = render_leaderboard([first, other])
    assert f"| {rate}, {square}; 40 images of rp2 |" in text
    assert f"| {rate}, inside the mask stickers; 40 images of rp2 | - | - |" in text
    assert "AutoPatch: " not in text
    wider = dataclasses.replace(first, per_image=[figures("pgd", "the whole image, linf at most 16/255")])
    assert rate not in render_leaderboard([wider])  # not the radius that the column names


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


def test_the_leaderboard_is_up_to_date():
    if not list_models():
        pytest.skip("no models in this checkout")
    cards = [load_model(name).card for name in list_models()]
    assert (models_root() / "README.md").read_text() == render_leaderboard(cards)
