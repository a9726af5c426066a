"""The first attacked images beside what each attack made of them."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from blurnet.evaluation.markup import Markup, element, picture
from blurnet.evaluation.per_image import Outcome, PerImage
from blurnet.evaluation.worst_case import main_outcomes, stage_name


class Shown(NamedTuple):
    """One picture with its caption."""

    name: str  #: "original", or the attack's
    image: Tensor  #: (3, H, W) in [0, 1]
    call: str  #: what the model answers, with its confidence
    detail: str
    fell: bool | None  #: whether the attack broke it; None for an original


def kept_images(module: PerImage, outcomes: Sequence[Outcome]) -> list[tuple[str, list[Shown]]]:
    """Each kept image as (title, pictures): the original, then what each main attack made of it.

    An image that was answered wrongly before any attack has no other pictures than its original.
    """
    main, classes = main_outcomes(outcomes), module.pool.classes
    count = min((len(outcome.work.kept) for outcome in main), default=0)
    if count == 0:
        return []
    images, labels = module.pool.read(range(count))
    shown = []
    for i in range(count):
        first = main[0].work
        call = _call(classes, first.clean_prediction[i], first.clean_confidence[i])
        right = bool(first.clean_prediction[i] == labels[i])
        row = [Shown("original", images[i], call, "" if right else "wrong before any attack", None)]
        if right:
            row += [_attacked(outcome, i, classes) for outcome in main]
        shown.append((f"{classes[int(labels[i])]}, image {int(first.item[i])}", row))
    return shown


def gallery(rows: Sequence[tuple[str, Sequence[Shown]]]) -> Markup:
    """The pictures as cards, each strip scrolling by itself where the page is narrow."""
    wide = 7.3 * max(len(row) for _, row in rows) + 1.9  # rem: as many cards side by side as show all their pictures
    cards = [_card(title, row) for title, row in rows]
    return element("div", *cards, class_="gallery", style=f"--wide:{wide:.1f}rem")


def _attacked(outcome: Outcome, i: int, classes: tuple[str, ...]) -> Shown:
    work = outcome.work
    fell = not bool(work.robust[i])
    stage = stage_name(outcome, i)
    how = f"{stage}, {int(work.calls[i]):,} calls" if fell else f"stands after {int(work.calls[i]):,} calls"
    return Shown(outcome.campaign.name, work.kept[i], _call(classes, work.prediction[i], work.confidence[i]), how, fell)


def _card(title: str, row: Sequence[Shown]) -> Markup:
    figures = [
        element(
            "figure",
            picture(shown.image, f"{title}, {shown.name}: the model answers {shown.call}"),
            element("figcaption", element("b", shown.name), shown.call, element("br"), shown.detail),
            class_=None if shown.fell is None else ("fell" if shown.fell else "stood"),
        )
        for shown in row
    ]
    strip = element("div", *figures, class_="strip", tabindex=0, role="region", aria_label=title)
    return element("article", element("h3", title), strip)


def _call(classes: tuple[str, ...], prediction: Tensor, confidence: Tensor) -> str:
    return f"{classes[int(prediction)]} {100 * float(confidence):.0f}\u00a0%"
