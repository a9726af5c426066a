"""The figures of reports move to cards, and every shipped card holds those of its report."""

import dataclasses
import json

import pytest

from blurnet.evaluation.report.cards import add_held_out, add_report, with_held_out, with_report
from blurnet.evaluation.report.parts import Calls, CertifiedPart, FlagPart, ImagesPart, SanityRow, UniversalAttack
from blurnet.evaluation.report.report import Report, read_report
from blurnet.rates import Rate
from blurnet.zoo.build import build
from blurnet.zoo.card import Card
from blurnet.zoo.models import list_models, load_model, models_root, save_model
from blurnet.zoo.readme import render_readme
from blurnet.zoo.spec import ModelSpec
from tests.evaluation.sample_report import FLAG, images_part, sample_report, universal

CARD = Card("a net", "lisa", "none", "crops", 3, "python train.py fit", sha256="0" * 64)


def attack(settings: str, counts: tuple[int, int], *, targeted: bool = True) -> UniversalAttack:
    made = universal("rp2", None, *counts)
    rows = made.per_target if targeted else [dataclasses.replace(made.per_target[0], target=None, targeted=None)]
    return dataclasses.replace(made, repr=settings, per_target=rows, targets=[row.target for row in rows])


def about(**changes) -> Report:
    return sample_report(defenses=None, **changes)


def test_figures_come_from_the_strongest_targeted_attack():
    listed = [
        attack("RP2(lam=0.02)", (1, 2)),
        attack("RP2(lam=0.002)", (5, 3)),
        attack("RP2(target=None)", (7, 7), targeted=False),
        attack("LaVAN()", (7, 7)),
    ]
    full = with_report(CARD, about(attacks=listed))
    assert (full.clean, full.clean_set) == (Rate.of(39, 40), "tiny (test)")
    assert (full.rp2.average, full.rp2.settings, full.rp2.worst_target) == (
        Rate.pooled(8, 14, 7),
        "RP2(lam=0.002)",
        "a",
    )
    assert (full.rp2.worst, full.rp2.targets, full.rp2.n) == (Rate.of(5, 7), 2, 7)
    assert full.rp2.victims == "7 victims of tiny, mask stickers"
    assert full.evaluate_command == "python evaluate.py --x"


def test_figures_of_attacks_on_single_images():
    flags = [FLAG, FlagPart("zero-gradient", "", "", {}, "another"), FlagPart("noise", "", "", {})]
    full = with_report(CARD, about(sanity=[SanityRow("x", 7, [])], flags=flags))
    found = full.under("Blot")
    assert (found.robust, found.threat, found.calls) == (Rate.of(2, 6), "one square patch", 1024)
    assert (found.images, found.settings) == ("6 images of six signs", "Blot(seed=0)")
    assert full.flags == ["noise", "zero-gradient"]
    assert with_report(CARD, about(sanity=None)).flags is None


def test_what_a_report_lacks_stays():
    first = with_report(CARD, about())
    bare = about(clean=None, data=None, attacks=[], per_image=None, sanity=None, command="other")
    assert with_report(first, bare) == dataclasses.replace(first, evaluate_command="other")


def held_out() -> ImagesPart:
    part = images_part()
    return dataclasses.replace(part, on=dataclasses.replace(part.on, name="all classes"))


def test_held_out_figures_stand_beside_the_others():
    first = with_report(CARD, about())
    full = with_held_out(first, about(per_image=held_out(), command="other"))
    assert (full.per_image, full.evaluate_command) == (first.per_image, first.evaluate_command)
    assert full.under_held_out("Blot").images == "6 images of all classes"
    with pytest.raises(ValueError, match="no attacks on single images"):
        with_held_out(CARD, about(per_image=None))


def test_what_is_proven_stands_once_for_each_set_of_images():
    def proof(name: str, count: int) -> CertifiedPart:
        on = dataclasses.replace(images_part().on, name=name)
        return CertifiedPart(
            on, "a patch of 7x7", Rate.of(count, 6), Rate.of(5, 6), Rate.of(6, 6), Calls(136, 136, 816), []
        )

    assert with_report(CARD, about()).certified == []
    first = with_report(CARD, about(certified=proof("victims", 4)))
    both = with_held_out(first, about(certified=proof("all classes", 2)))
    assert [found.images for found in both.certified] == ["6 images of victims", "6 images of all classes"]
    again = with_report(both, about(certified=proof("victims", 3)))
    assert {found.images: found.certified.count for found in again.certified} == {
        "6 images of victims": 3,
        "6 images of all classes": 2,
    }
    found = again.certified[0]
    assert (found.clean.count, found.threat, found.calls) == (5, "a patch of 7x7", 136)
    assert with_report(again, about()).certified == again.certified


@pytest.mark.parametrize("move", [with_report, with_held_out])
def test_reports_about_something_else_are_refused(move):
    with pytest.raises(ValueError, match="about weights 000"):
        move(dataclasses.replace(CARD, sha256="ab"), about())
    with pytest.raises(ValueError, match="the model behind lgs in front; the card, about the model as it is"):
        move(CARD, sample_report())


def test_reports_are_put_into_a_models_folder(tmp_path):
    spec = ModelSpec(classes=["stop", "yield"])
    saved = save_model(build(spec), tmp_path / "new", spec=spec, card=CARD)
    model = dataclasses.replace(sample_report().model, sha256=load_model(saved).card.sha256)
    report = about(model=model)
    card = add_report(saved, report, notes=["evaluated"])
    assert card == dataclasses.replace(load_model(saved).card, defenses=[])
    assert (card.clean.count, card.notes) == (39, ["evaluated"])
    assert read_report(saved) == report
    assert (saved / "README.md").read_text() == render_readme(card)
    more = add_held_out(saved, about(model=model, per_image=held_out(), command="other"))
    assert json.loads((saved / "card.json").read_text())["held_out"]
    assert "6 images of all classes" in (saved / "README.md").read_text()
    assert (more.notes, read_report(saved)) == (["evaluated"], report)
    with pytest.raises(ValueError, match="about weights"):
        add_report(saved, about())


@pytest.mark.parametrize("name", list_models())
def test_every_shipped_card_holds_its_report(name):
    """To the figure; clean accuracy to the count, since reports of 0.1 took frames of one track for independent."""
    card = load_model(name).card
    found = with_report(card, read_report(models_root() / name))
    assert (found.clean.value, found.clean.count, found.clean.n) == (card.clean.value, card.clean.count, card.clean.n)
    assert dataclasses.replace(found, clean=card.clean) == card
