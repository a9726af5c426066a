"""Cards for people: a model's README.md and the leaderboard, generated so that they cannot drift from the data."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from blurnet.templates import render
from blurnet.zoo.card import Card, CertifiedFigures, ImageFigures, Published
from blurnet.zoo.describe import describe_defenses

#: Names of licences as the Hub writes them; it refuses others.
HUB_LICENSES = frozenset(
    ("agpl-3.0", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0")
    + ("cc-by-sa-4.0", "cc0-1.0", "gpl-2.0", "gpl-3.0", "isc", "lgpl-3.0", "mit", "mpl-2.0", "unlicense")
)


def render_readme(card: Card) -> str:
    """README.md of a model, in Markdown with the front matter of the Hugging Face Hub."""
    license_id = card.license.lower()
    return render(
        "blurnet.zoo", "model.md.jinja", card=card, measured=_measured(card), origin=_origin(card),
        license=license_id if license_id in HUB_LICENSES else "other",
    )  # fmt: skip


def render_leaderboard(cards: Iterable[Card]) -> str:
    """models/README.md: one table a data set, the most robust first: by AutoPatch, then by RP2.

    It shows ``leaderboard.svg``, see :func:`blurnet.evaluation.render.leaderboard.leaderboard_svg`.
    """
    cards = sorted(cards, key=_rank)
    names = dict.fromkeys(card.dataset for card in cards)
    parts = [_part(name, [card for card in cards if card.dataset == name]) for name in names]
    return render("blurnet.zoo", "leaderboard.md.jinja", parts=parts)


class Part(NamedTuple):
    """A table of the leaderboard, and what is said above it."""

    dataset: str
    facts: str
    head: list[str]
    rows: list[tuple[str, ...]]


class Cell(NamedTuple):
    """What a column says of a model, and on what it was measured."""

    value: str
    fact: str = ""


class Column(NamedTuple):
    """A column of the table; ``fact`` is what all its cells share, for the paragraph above."""

    title: str
    fact: str
    cells: list[str]


def _part(dataset: str, cards: Sequence[Card]) -> Part:
    columns = [_column(title, cell, cards) for title, cell in COLUMNS]
    names = [f"[{card.name}]({card.name}/README.md)" for card in cards]
    facts = " ".join(column.fact for column in columns if column.fact)
    rows = list(zip(names, *(column.cells for column in columns), strict=True))
    return Part(dataset, facts, ["model", *(column.title for column in columns)], rows)


def _column(title: str, cell: Callable[[Card], Cell], cards: Sequence[Card]) -> Column:
    """What all cells share is said once, above the table; what they do not, in each cell."""
    cells = [cell(card) for card in cards]
    facts = dict.fromkeys(found.fact for found in cells if found.fact)
    if len(facts) > 1:
        return Column(title, "", [", ".join(filter(None, found)) for found in cells])
    fact = next(iter(facts), "")
    return Column(title, f"{title}: {fact}." if fact else "", [found.value for found in cells])


def _clean(card: Card) -> Cell:
    if card.clean is None:
        return Cell("-")
    return Cell(card.clean.short, f"{card.clean_set}, {card.clean.trials}".removeprefix(", "))


def _under(attack: str, radius: str = "") -> Callable[[Card], Cell]:
    """The content of a column of robust accuracy; ``radius``: how the threat must end to be what the column names."""

    def cell(card: Card) -> Cell:
        figures = card.under(attack)
        return _robust(figures) if figures and figures.threat.endswith(radius) else Cell("-")

    return cell


def _held_out(card: Card) -> Cell:
    figures = card.under_held_out("autopatch")
    return _robust(figures) if figures else Cell("-")


def _certified(card: Card) -> Cell:
    """Of several sets of images the largest, which says most."""
    if not card.certified:
        return Cell("-")
    figures = max(card.certified, key=lambda found: found.certified.n)
    return Cell(figures.certified.short, f"{figures.threat}; {figures.images}")


def _robust(figures: ImageFigures) -> Cell:
    return Cell(figures.robust.short, f"{figures.threat}; {figures.images}")


def _rp2_average(card: Card) -> Cell:
    if card.rp2 is None:
        return Cell("-")
    return Cell(card.rp2.average.short, f"{card.rp2.targets} targets, {card.rp2.victims}")


def _rp2_worst(card: Card) -> Cell:
    return Cell(f"{card.rp2.worst.short}, {card.rp2.worst_target}") if card.rp2 else Cell("-")


#: Title and content of the leaderboard's columns behind the model's name.
COLUMNS: tuple[tuple[str, Callable[[Card], Cell]], ...] = (
    ("defense", lambda card: Cell(card.defense)),
    ("objective", lambda card: Cell(card.objective)),
    ("lineage", lambda card: Cell(card.lineage)),
    ("training", lambda card: Cell(_seconds(card))),
    ("clean", _clean),
    ("AutoPatch", _under("autopatch")),
    ("AutoPatch, held-out", _held_out),
    ("certified", _certified),
    ("PGD 8/255", _under("pgd", " 8/255")),
    ("RP2 average", _rp2_average),
    ("RP2 worst", _rp2_worst),
)


def _seconds(card: Card) -> str:
    return "-" if card.training_seconds is None else f"{card.training_seconds:,.0f} s"


def _rank(card: Card) -> tuple[str, float, float, str]:
    patch = card.under("autopatch")
    return (
        card.dataset,
        -patch.robust.value if patch else 1.0,
        card.rp2.average.value if card.rp2 else 101.0,
        card.name,
    )


def _measured(card: Card) -> list[list[str]]:
    """Rows of the table of figures: what, measured, and published where the card has such figures."""
    rp2, published = card.rp2, card.published or Published("")
    average = rp2 and f"{rp2.average} ({rp2.targets} targets x {rp2.n})"
    rows: list[tuple[str, object, float | None]] = [
        (f"clean accuracy, {card.clean_set}" if card.clean_set else "clean accuracy", card.clean, published.accuracy),
        ("RP2 success, average over targets", average, published.average),
        ("RP2 success, worst target", rp2 and f"{rp2.worst}, {rp2.worst_target}", published.worst),
    ]
    shown = [[what, str(value or "not measured"), _unit(other, " %")] for what, value, other in rows]
    far = "not measured" if rp2 is None else f"{rp2.dissimilarity:.3f}"
    shown.append(["L2 dissimilarity", far, _unit(published.dissimilarity)])
    shown += [_robust_row(figures, figures.threat) for figures in card.per_image]
    shown += [_robust_row(figures, figures.images) for figures in card.held_out]
    shown += [_certified_row(figures) for figures in card.certified]
    return shown if card.published else [row[:2] for row in shown]


def _unit(value: float | None, unit: str = "") -> str:
    return "-" if value is None else f"{value:g}{unit}"


def _robust_row(figures: ImageFigures, where: str) -> list[str]:
    found = f"{figures.robust}; {figures.calls:,} model calls an image"
    return [f"robust accuracy under {figures.attack}, {where}", found, "-"]


def _certified_row(figures: CertifiedFigures) -> list[str]:
    found = f"{figures.certified}; {figures.calls:,} views an image"
    return [f"certified accuracy, {figures.threat}, {figures.images}", found, "-"]


def _origin(card: Card) -> list[tuple[str, str]]:
    return [
        ("defenses", "not stated" if card.defenses is None else describe_defenses(card.defenses)),
        ("data", card.data),
        ("lineage", card.lineage),
        ("seed", str(card.seed)),
        ("trained by", f"`{card.command}`"),
        ("evaluated by", f"`{card.evaluate_command}`" if card.evaluate_command else "-"),
        ("objective", f"`{card.objective}`"),
        ("training time", _seconds(card)),
        ("license", card.license),
        ("SHA-256 of model.safetensors", f"`{card.sha256}`"),
    ]
