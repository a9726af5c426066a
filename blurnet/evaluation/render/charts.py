"""Charts inside the page: SVG by matplotlib that takes its colours from the page, so one drawing is light and dark."""

import io
import math
import re
from collections.abc import Sequence
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from blurnet.evaluation.report.parts import Curve

WIDTH, HEIGHT = 480, 280  #: of a line chart, in SVG units
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 12, 40
APART = 34  #: SVG units from one label of the axis to the next

#: The colours that charts are drawn in, and the variable of report.css that takes the place of each.
SERIES = ("#20639b", "#c93c53", "#6a4c93", "#1f7a5c", "#b0651d", "#5f6b7a")
SOFT, LINE, BROKEN = "#566173", "#dfe1e6", SERIES[1]
VARIABLES = {color: f"var(--c{i})" for i, color in enumerate(SERIES)} | {SOFT: "var(--soft)", LINE: "var(--line)"}


def line_chart(curves: Sequence[Curve], identity: str) -> Markup:
    """Robust accuracy in percent over an axis that all curves share, with the 95 % intervals as bands.

    What is certified, where anything is, is a dashed line of the same colour.

    Args:
        curves: over "area" (shown in percent) or "steps" (on a logarithmic scale).
        identity: unique in the page, for the chart's labels.
    """
    axis = curves[0].axis
    figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72))
    ax = figure.add_axes(
        (LEFT / WIDTH, BOTTOM / HEIGHT, 1 - (LEFT + RIGHT) / WIDTH, 1 - (TOP + BOTTOM) / HEIGHT), facecolor="none"
    )
    for number, curve in enumerate(curves):
        color = SERIES[number % len(SERIES)]
        points = sorted(curve.points, key=lambda point: point.value)
        x, rates = [place(point.value, axis) for point in points], [point.robust for point in points]
        ax.fill_between(x, [r.low for r in rates], [r.high for r in rates], color=color, alpha=0.13, linewidth=0)
        ax.plot(x, [r.value for r in rates], color=color, linewidth=2.5, marker="o", markersize=7)
        if proven := [(place(point.value, axis), point.certified.value) for point in points if point.certified]:
            ax.plot(*zip(*proven, strict=True), color=color, linewidth=2, linestyle="--", marker="_", markersize=9)
    _axes(ax, sorted({point.value for curve in curves for point in curve.points}), axis)
    said = "; ".join(
        f"{curve.attack}: " + ", ".join(f"{tick(p.value, axis)} {p.robust.percent}" for p in curve.points)
        for curve in curves
    )
    return _markup(figure, f"Robust accuracy over {axis}", said, identity)


def heat_map(cells: Sequence[Sequence[float]], identity: str) -> Markup:
    """Shares in [0, 1] as a field of squares, rows from the top, the fuller the larger."""
    most = max(max(row) for row in cells) or 1.0
    rows, columns = len(cells), len(cells[0])
    figure = Figure(figsize=(columns / 72, rows / 72))
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, columns), ylim=(rows, 0))
    ax.set_axis_off()
    levels: dict[int, list[Path]] = {}
    for y, row in enumerate(cells):
        for x, value in enumerate(row):
            corners = [(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1), (x, y)]
            levels.setdefault(round(20 * value / most), []).append(Path(corners, closed=True))
    for level, squares in sorted(levels.items()):
        if level:  # one path a shade keeps the page small
            field = Path.make_compound_path(*squares)
            ax.add_patch(PathPatch(field, facecolor=BROKEN, alpha=level / 20, linewidth=0, snap=False))
    top, left = max(((y, x) for y in range(rows) for x in range(columns)), key=lambda at: cells[at[0]][at[1]])
    said = (
        f"Most often covered: {100 * (left + 0.5) / columns:.0f} % from the left and {100 * (top + 0.5) / rows:.0f} % "
        f"from the top, by {100 * cells[top][left]:.0f} % of the patches that broke an image."
    )
    return _markup(figure, "Where the patches lay", said, identity)


def tick(value: float, axis: str) -> str:
    """A value of an axis as text: shares of the image in percent."""
    return f"{100 * value:g} %" if axis == "area" else f"{value:g}"


def place(value: float, axis: str) -> float:
    """Where a value stands: areas on a linear scale, steps on a logarithmic one."""
    return value if axis == "area" else math.log(max(value, 0.5))


def _axes(ax: Axes, values: Sequence[float], axis: str) -> None:
    low, high = place(values[0], axis), place(values[-1], axis)
    margin = 0.025 * (high - low) or 0.5  # no mark stands on the edge
    ax.set_xlim(low - margin, high + margin)
    ax.set_ylim(0, 100)
    width, shown = WIDTH - LEFT - RIGHT, [values[0]]
    for value in values[1:]:
        if (place(value, axis) - place(shown[-1], axis)) / (high - low + 2 * margin) * width > APART:
            shown.append(value)
    ax.set_xticks([place(value, axis) for value in shown], [tick(value, axis) for value in shown])
    ax.set_yticks(range(0, 101, 25), [f"{percent} %" for percent in range(0, 101, 25)])
    ax.set_xlabel("patch, share of the image" if axis == "area" else axis, color=SOFT)
    ax.tick_params(length=0, colors=SOFT)
    ax.tick_params(axis="x", pad=9)
    ax.grid(axis="y", color=LINE)
    ax.set_axisbelow(True)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _markup(figure: Figure, title: str, said: str, identity: str) -> Markup:
    """The figure as an element of a page: labelled, no fixed colours or fonts, nothing that points anywhere."""
    for artist in figure.findobj():
        artist.set_clip_on(False)
    figure.patch.set_visible(False)
    FigureCanvasSVG(figure)
    buffer = io.BytesIO()
    # Text as text takes the page's font; the salt and no date keep the bytes.
    with matplotlib.rc_context({"svg.hashsalt": f"blurnet-{identity}", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    drawing = _bare(ElementTree.fromstring(buffer.getvalue()))
    box = drawing.attrib["viewBox"]
    drawing.attrib.clear()
    labels = {"title": (f"{identity}-title", title), "desc": (f"{identity}-desc", said)}
    drawing.attrib.update(viewBox=box, role="img")
    drawing.set("aria-labelledby", " ".join(name for name, _ in labels.values()))
    for place_of, (tag, (name, text)) in enumerate(labels.items()):
        element = ElementTree.Element(tag, id=name)
        element.text = text
        drawing.insert(place_of, element)
    return Markup(ElementTree.tostring(drawing, encoding="unicode"))


def _bare(element: ElementTree.Element) -> ElementTree.Element:
    """The drawing without name spaces, metadata, style sheets and names that nothing refers to."""
    used = {value.removeprefix("#") for e in element.iter() for key, value in e.attrib.items() if key.endswith("href")}
    for inner in list(element.iter()):
        inner.tag = inner.tag.split("}")[-1]
        inner.tail = None
        for child in list(inner):
            if child.tag.split("}")[-1] in ("metadata", "style"):
                inner.remove(child)
        for key in list(inner.attrib):
            value = inner.attrib.pop(key)
            if key != "id" or value in used:
                inner.set(key.split("}")[-1], _style(value) if key == "style" else value)
    return element


def _style(text: str) -> str:
    """A style of the drawing with the page's colours, and the page's fonts."""
    kept = [part for part in text.split("; ") if not part.startswith("font")]
    return re.sub("#[0-9a-f]{6}", lambda found: VARIABLES.get(found[0], found[0]), "; ".join(kept))
