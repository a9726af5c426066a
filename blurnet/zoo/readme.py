"""Cards for people: a model's README.md and the leaderboard, generated so that they cannot drift from the data."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from blurnet.rates import Rate
from blurnet.zoo.card import Card, ImageFigures, Published, RP2Figures
from blurnet.zoo.describe import describe_defenses

#: Names of licences as the Hub writes them; it refuses others.
HUB_LICENSES = frozenset(
    ("agpl-3.0", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0")
    + ("cc-by-sa-4.0", "cc0-1.0", "gpl-2.0", "gpl-3.0", "isc", "lgpl-3.0", "mit", "mpl-2.0", "unlicense")
)


def render_readme(card: Card) -> str:
    """README.md of a model, in Markdown with the front matter of the Hugging Face Hub."""
    parts = [
        _front_matter(card),
        f"# {card.title}",
        f"`{card.name}`: {card.net} with {card.classes} classes, {card.parameters:,} parameters; "
        f"{card.lineage}. Images are RGB in [0, 1], outputs are logits.",
        _figures(card),
        f'```python\nimport blurnet\n\nnet = blurnet.load_model("{card.name}")\n'
        "logits = net(images)  # (N, 3, H, W) in [0, 1]; net.classes names the outputs\n```",
        "## Where it comes from",
        _origin(card),
    ]
    if card.notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in card.notes)]
    return "\n\n".join([*parts, "This file is generated from card.json."]) + "\n"


def _front_matter(card: Card) -> str:
    """What the Hugging Face Hub reads of a README."""
    license_id = card.license.lower()
    lines = [
        "library_name: blurnet",
        f"license: {license_id if license_id in HUB_LICENSES else 'other'}",
        "pipeline_tag: image-classification",
        "tags:\n- adversarial-robustness\n- adversarial-patch",
    ]
    return "\n".join(["---", *lines, "---"])


def render_leaderboard(cards: Iterable[Card]) -> str:
    """models/README.md: one table a data set, the most robust first: by AutoPatch, then by RP2.

    It shows ``leaderboard.svg``, see :func:`blurnet.evaluation.leaderboard.leaderboard_svg`.
    """
    cards = sorted(cards, key=_rank)
    parts = [
        "# Models",
        "![Clean accuracy against robust accuracy under AutoPatch](leaderboard.svg)",
        "Rates in percent with 95 % intervals. AutoPatch and PGD are robust accuracy: the share of images answered "
        "rightly with and without the attack (higher is more robust). RP2 is made on each model itself; its success is "
        "any change of label, on average over the targets and for the worst target (lower is more robust). "
        "Compare a defended net with a baseline of its own lineage; each model's card has its defenses, their "
        "arguments, settings and commands.",
    ]
    for dataset in dict.fromkeys(card.dataset for card in cards):
        shown = [card for card in cards if card.dataset == dataset]
        columns = [_column(title, cell, shown) for title, cell in COLUMNS]
        names = [f"[{card.name}]({card.name}/README.md)" for card in shown]
        rows = list(zip(names, *(column.cells for column in columns), strict=True))
        facts = " ".join(column.fact for column in columns if column.fact)
        table = _table(("model", *(column.title for column in columns)), rows)
        parts += [f"## {dataset}", *filter(None, [facts]), table]
    return "\n\n".join([*parts, "This file is generated from the cards."]) + "\n"


class Cell(NamedTuple):
    """What a column says of a model, and on what it was measured."""

    value: str
    fact: str = ""


class Column(NamedTuple):
    """A column of the table; ``fact`` is what all its cells share, for the paragraph above."""

    title: str
    fact: str
    cells: list[str]


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
    return Cell(_short(card.clean), f"{card.clean_set}, n = {card.clean.n:,}".removeprefix(", "))


def _under(attack: str, radius: str = "") -> Callable[[Card], Cell]:
    """The content of a column of robust accuracy; ``radius``: how the threat must end to be what the column names."""

    def cell(card: Card) -> Cell:
        figures = card.under(attack)
        return _robust(figures) if figures and figures.threat.endswith(radius) else Cell("-")

    return cell


def _held_out(card: Card) -> Cell:
    figures = card.under_held_out("autopatch")
    return _robust(figures) if figures else Cell("-")


def _robust(figures: ImageFigures) -> Cell:
    return Cell(_short(figures.robust), f"{figures.threat}; {figures.images}")


def _rp2_average(card: Card) -> Cell:
    if card.rp2 is None:
        return Cell("-")
    rate = f"{card.rp2.average:.1f} ({card.rp2.average_low:.1f}-{card.rp2.average_high:.1f})"
    return Cell(rate, f"{card.rp2.targets} targets, {card.rp2.victims}")


def _rp2_worst(card: Card) -> Cell:
    return Cell(f"{_short(card.rp2.worst)}, {card.rp2.worst_target}") if card.rp2 else Cell("-")


#: Title and content of the leaderboard's columns behind the model's name.
COLUMNS: tuple[tuple[str, Callable[[Card], Cell]], ...] = (
    ("defense", lambda card: Cell(card.defense)),
    ("objective", lambda card: Cell(card.objective)),
    ("lineage", lambda card: Cell(card.lineage)),
    ("training", lambda card: Cell(_seconds(card))),
    ("clean", _clean),
    ("AutoPatch", _under("autopatch")),
    ("AutoPatch, held-out", _held_out),
    ("PGD 8/255", _under("pgd", " 8/255")),
    ("RP2 average", _rp2_average),
    ("RP2 worst", _rp2_worst),
)


def _short(rate: Rate) -> str:
    return f"{rate.value:.1f} ({rate.low:.1f}-{rate.high:.1f})"


def _seconds(card: Card) -> str:
    return "-" if card.training_seconds is None else f"{card.training_seconds:,.0f} s"


def _rank(card: Card) -> tuple[str, float, float, str]:
    patch = card.under("autopatch")
    return (
        card.dataset,
        -patch.robust.value if patch else 1.0,
        card.rp2.average if card.rp2 else 101.0,
        card.name,
    )


def _figures(card: Card) -> str:
    rp2, published = card.rp2, card.published or Published("")
    measured = (
        (f"clean accuracy, {card.clean_set}" if card.clean_set else "clean accuracy", card.clean, published.accuracy),
        ("RP2 success, average over targets", rp2 and _average(rp2), published.average),
        ("RP2 success, worst target", rp2 and f"{rp2.worst}, {rp2.worst_target}", published.worst),
        ("L2 dissimilarity", rp2 and f"{rp2.dissimilarity:.3f}", published.dissimilarity),
        *(
            (f"robust accuracy under {f.attack}, {f.threat}", f"{f.robust}; {f.calls:,} model calls an image", None)
            for f in card.per_image
        ),
        *(
            (f"robust accuracy under {f.attack}, {f.images}", f"{f.robust}; {f.calls:,} model calls an image", None)
            for f in card.held_out
        ),
    )
    if not card.published:
        rows = [(what, str(value or "not measured")) for what, value, _ in measured]
        return "\n\n".join(filter(None, [_table(("", "measured"), rows), _settings(card)]))
    lines = []
    for what, value, other in measured:
        unit = "" if what.startswith("L2") else " %"
        lines.append((what, str(value or "not measured"), "-" if other is None else f"{other:g}{unit}"))
    source = f"Published: {published.source}."
    return "\n\n".join(filter(None, [_table(("", "measured", "published"), lines), _settings(card), source]))


def _settings(card: Card) -> str:
    lines = [f"RP2 on {card.rp2.victims}: `{card.rp2.settings}`."] if card.rp2 else []
    lines += [f"{f.attack} on {f.images}: `{f.settings}`." for f in (*card.per_image, *card.held_out)]
    if card.flags is not None:
        raised = ", ".join(card.flags)
        lines.append(f"Sanity checks raised: {raised}." if raised else "Sanity checks of the attacks raised no flag.")
    return "\n\n".join(lines)


def _average(rp2: RP2Figures) -> str:
    return f"{rp2.average:.1f} % ({rp2.average_low:.1f}-{rp2.average_high:.1f}, {rp2.targets} targets x {rp2.n})"


def _origin(card: Card) -> str:
    rows = [
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
    return _table(("", ""), rows)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
