"""The figures of a report, moved to a model's card."""

import dataclasses
import os
from typing import Any

from blurnet.evaluation.report.parts import (
    CertifiedPart,
    ImageAttack,
    ImagesOn,
    ImagesPart,
    UniversalAttack,
    VictimsPart,
)
from blurnet.evaluation.report.report import Report
from blurnet.zoo.card import Card, CertifiedFigures, ImageFigures, RP2Figures
from blurnet.zoo.describe import describe_defenses
from blurnet.zoo.models import model_folder, read_card, write_card


def with_report(card: Card, report: Report) -> Card:
    """The card with the figures of a report of this model.

    Of several targeted RP2 attacks the one with the highest average counts; figures that the report lacks stay.

    Raises:
        ValueError: the report is about other weights, or about the model behind further defenses.
    """
    _check_about(card, report)
    changes: dict[str, Any] = {"evaluate_command": report.command}
    changes |= _clean(report) | _certified(card, report)
    targeted = [attack for attack in report.attacks if attack.repr.startswith("RP2(") and None not in attack.targets]
    if targeted and report.victims:
        strongest = max(targeted, key=lambda attack: attack.average.asr.value)
        changes["rp2"] = _rp2_figures(strongest, report.victims)
    if report.per_image:
        changes["per_image"] = _image_figures(report.per_image)
    if report.sanity is not None:
        changes["flags"] = sorted({flag.name for flag in report.flags})
    return dataclasses.replace(card, **changes)


def with_held_out(card: Card, report: Report) -> Card:
    """The card with the figures of a report whose attacks ran on held-out images (``--on data``).

    Its clean accuracy is taken over too, with an interval over tracks where the data has them, and what is proven.

    Raises:
        ValueError: as :func:`with_report`, or no attack ran on single images.
    """
    _check_about(card, report)
    if not report.per_image:
        raise ValueError("the report has no attacks on single images")
    changes = _clean(report) | _certified(card, report)
    return dataclasses.replace(card, held_out=_image_figures(report.per_image), **changes)


def _clean(report: Report) -> dict[str, Any]:
    """The fields of a card on clean accuracy; none where the report has none."""
    return {"clean": report.clean, "clean_set": report.data.name} if report.clean and report.data else {}


def _certified(card: Card, report: Report) -> dict[str, Any]:
    """What is proven of the report's images, beside what is proven of others; none where the report has none."""
    if report.certified is None:
        return {}
    found = _certified_figures(report.certified)
    kept = [found if other.images == found.images else other for other in card.certified]
    return {"certified": kept if found in kept else [*kept, found]}


def add_report(folder: str | os.PathLike[str], report: Report, **changes: Any) -> Card:
    """Put an evaluation report into a model's folder; its card and README take over the figures.

    Args:
        folder: a model's folder, or a name from :func:`~blurnet.zoo.models.list_models`.
        report: the report of these very weights.
        changes: other fields of the card to set, such as ``notes``.

    Raises:
        ValueError: the report is about other weights, or ``folder`` holds no model.
    """
    place = model_folder(folder)
    card = dataclasses.replace(with_report(read_card(place), report), **changes)
    write_card(place, card, report.to_json())
    return card


def add_held_out(folder: str | os.PathLike[str], report: Report) -> Card:
    """Put the figures of a report on held-out images into a model's card and README; report.json stays as it is.

    Raises:
        ValueError: the report is about other weights or has no such figures, or ``folder`` holds no model.
    """
    place = model_folder(folder)
    card = with_held_out(read_card(place), report)
    write_card(place, card)
    return card


def _check_about(card: Card, report: Report) -> None:
    if report.model.sha256 != card.sha256:
        raise ValueError(f"the report is about weights {report.model.sha256}, the card {card.sha256}")
    if report.defenses and report.defenses.added:
        front = describe_defenses(report.defenses.added)
        raise ValueError(f"the report is about the model behind {front}; the card, about the model as it is")


def _image_figures(part: ImagesPart) -> list[ImageFigures]:
    images = _images(part.on)

    def figures(attack: ImageAttack) -> ImageFigures:
        return ImageFigures(
            attack.name, attack.robust, attack.threat, attack.calls.median, images, settings=attack.repr
        )

    return [figures(attack) for attack in part.attacks]


def _certified_figures(part: CertifiedPart) -> CertifiedFigures:
    return CertifiedFigures(part.certified, part.clean, part.threat, part.calls.median, _images(part.on))


def _images(on: ImagesOn) -> str:
    return f"{on.n} images of {on.name}"


def _rp2_figures(attack: UniversalAttack, victims: VictimsPart) -> RP2Figures:
    return RP2Figures(
        average=attack.average.asr,
        worst=attack.worst.asr,
        worst_target=attack.worst.name,
        dissimilarity=attack.average.dissimilarity,
        targets=len(attack.targets),
        n=victims.n,
        victims=f"{victims.n} victims of {victims.name}, mask {victims.mask}",
        settings=attack.repr,
    )
