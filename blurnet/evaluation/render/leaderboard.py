"""The leaderboard as a picture: clean accuracy against robust accuracy under AutoPatch, from the models' cards."""

import io
import math
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from blurnet.evaluation.render.figures import ADDED, ATTACKED, CLEAN, MUTED, SMALL, TITLE, plain
from blurnet.rates import Rate
from blurnet.zoo.card import Card

MARKS = ((CLEAN, "o"), (ATTACKED, "s"), (ADDED, "^"), (MUTED, "D"))
LINE = 0.19  #: inches from one label to the next
WIDTH, AXES = 9.0, (0.75, 0.55, 5.1)  #: inches of the figure; of the axes their left, bottom and width
ABOVE = 0.55  #: inches for the title


class Entry(NamedTuple):
    """A model in the picture."""

    name: str
    dataset: str
    clean: Rate
    robust: Rate  #: under AutoPatch


def entries(cards: Sequence[Card]) -> list[Entry]:
    """The models that both accuracies are known of, the least robust first; of equals the most accurate first."""
    found = []
    for card in cards:
        figures = card.under("autopatch")
        if card.clean is not None and figures is not None:
            found.append(Entry(card.name, card.dataset, card.clean, figures.robust))
    return sorted(found, key=lambda entry: (entry.robust.value, -entry.clean.value, entry.name))


def leaderboard_svg(cards: Sequence[Card]) -> bytes:
    """An SVG file; the same cards give the same bytes with the same matplotlib.

    Raises:
        ValueError: no card has both accuracies.
    """
    shown = entries(cards)
    said = "; ".join(f"{e.name}: clean {e.clean}, AutoPatch {e.robust}" for e in shown)
    buffer = io.BytesIO()
    # Text as text keeps the file small; the salt and no date keep its bytes.
    with matplotlib.rc_context({"svg.hashsalt": "blurnet", "svg.fonttype": "none"}):
        metadata = {"Date": None, "Title": "Clean against robust accuracy", "Description": said}
        draw_leaderboard(shown).savefig(buffer, format="svg", metadata=metadata)
    return buffer.getvalue()


def draw_leaderboard(shown: Sequence[Entry]) -> Figure:
    """The figure of models in the order of :func:`entries`: points with 95 % intervals, names beside the axes.

    Raises:
        ValueError: no models.
    """
    if not shown:
        raise ValueError("no model has both a clean accuracy and one under AutoPatch")
    height = max(3.0, LINE * len(shown) + 0.4)
    total = height + AXES[1] + ABOVE
    figure = Figure(figsize=(WIDTH, total))
    FigureCanvasSVG(figure)
    ax = figure.add_axes((AXES[0] / WIDTH, AXES[1] / total, AXES[2] / WIDTH, height / total))
    left, right = math.floor(min(e.clean.low for e in shown)) - 1, math.ceil(max(e.clean.high for e in shown)) + 1
    top = min(100, 10 * math.ceil(max(e.robust.high for e in shown) / 10))
    ax.set_xlim(left, min(right, 100))
    ax.set_ylim(-0.03 * top, top)
    plain(ax, "clean accuracy, %", "robust accuracy under AutoPatch, %")
    ax.set_title("Clean against robust accuracy, with 95 % intervals", fontsize=TITLE, fontweight="bold", loc="left")
    for number, dataset in enumerate(sorted({entry.dataset for entry in shown})):
        _points(ax, [entry for entry in shown if entry.dataset == dataset], dataset, *MARKS[number % len(MARKS)])
    ax.legend(loc="upper left", fontsize=SMALL, frameon=False, title="tested on", title_fontsize=SMALL)
    _names(ax, shown, LINE / height)
    return figure


def _points(ax: Axes, shown: Sequence[Entry], dataset: str, color: str, marker: str) -> None:
    x, y = [e.clean.value for e in shown], [e.robust.value for e in shown]
    wide = [[e.clean.value - e.clean.low for e in shown], [e.clean.high - e.clean.value for e in shown]]
    tall = [[e.robust.value - e.robust.low for e in shown], [e.robust.high - e.robust.value for e in shown]]
    ax.errorbar(
        x, y, xerr=wide, yerr=tall, fmt=marker, color=color, ecolor=f"{color}55", markersize=5, elinewidth=1,
        label=dataset, clip_on=False,
    )  # fmt: skip


def _names(ax: Axes, shown: Sequence[Entry], gap: float) -> None:
    """Names in a column beside the axes, joined to their points by lines that do not cross where points are level."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    column = right + 0.06 * (right - left)
    wanted = [(entry.robust.value - bottom) / (top - bottom) for entry in shown]
    for entry, place in zip(shown, spread(wanted, gap), strict=True):
        y = bottom + place * (top - bottom)
        ends = [entry.clean.value, column], [entry.robust.value, y]
        ax.plot(*ends, color=MUTED, linewidth=0.5, alpha=0.6, clip_on=False, zorder=1)
        text = f"{entry.name}  {entry.clean.value:.1f} / {entry.robust.value:.1f}"
        ax.text(column + 0.01 * (right - left), y, text, fontsize=SMALL, va="center")


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Places in [0, 1] near the wanted ones, which ascend, no two closer than ``gap``.

    Raises:
        ValueError: so many do not fit.
    """
    if gap * (len(wanted) - 1) > 1 + 1e-9:
        raise ValueError(f"{len(wanted)} places {gap:g} apart do not fit into 1")
    places: list[float] = []
    for place in wanted:
        places.append(max(place, places[-1] + gap) if places else max(place, 0.0))
    limit = 1.0
    for i in reversed(range(len(places))):
        places[i] = min(places[i], limit)
        limit = places[i] - gap
    return places
