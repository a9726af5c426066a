"""Charts as SVG that takes its colours from the page, so that one drawing serves light and dark."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from blurnet.evaluation.markup import Markup, element, join

WIDTH, HEIGHT = 480, 280
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 12, 38
COLOURS = 6

Series = tuple[str, Sequence[dict[str, Any]]]


def line_chart(series: Sequence[Series], axis: str, identity: str) -> Markup:
    """Robust accuracy in percent over an axis, with the 95 % intervals as bands.

    Args:
        series: (attack, points), each point {"value": x, "robust": rate}.
        axis: "area" (shares, shown in percent) or "steps" (on a logarithmic scale).
        identity: unique in the page, for the chart's labels.
    """
    values = sorted({point["value"] for _, points in series for point in points})
    place = _scale(values, logarithmic=axis != "area")
    lines = [_grid(), _ticks(values, place, axis)]
    for number, (_, points) in enumerate(series):
        lines += _series(points, place, number)
    said = "; ".join(
        f"{name}: " + ", ".join(f"{_value(p['value'], axis)} {p['robust']['value']:g} %" for p in points)
        for name, points in series
    )
    chart = _svg(WIDTH, HEIGHT, f"Robust accuracy over {axis}", said, identity, *lines)
    keys = [
        element("li", element("i", style=f"background:var(--c{number % COLOURS})"), name)
        for number, (name, _) in enumerate(series)
    ]
    return join(chart, element("ul", *keys, class_="key"))


def heat_map(cells: Sequence[Sequence[float]], identity: str) -> Markup:
    """Shares in [0, 1] as a field of squares, the fuller the larger."""
    most = max(max(row) for row in cells) or 1.0
    rows, columns = len(cells), len(cells[0])
    squares = [
        element("rect", x=x, y=y, width=1, height=1, fill="var(--fall)", fill_opacity=round(value / most, 3))
        for y, row in enumerate(cells)
        for x, value in enumerate(row)
        if value > 0
    ]
    top, left = max(((y, x) for y in range(rows) for x in range(columns)), key=lambda place: cells[place[0]][place[1]])
    said = (
        f"Most often covered: {100 * (left + 0.5) / columns:.0f} % from the left and {100 * (top + 0.5) / rows:.0f} % "
        f"from the top, by {100 * most:.0f} % of the patches that broke an image."
    )
    field = element("g", *squares, shape_rendering="crispEdges")
    return _svg(columns, rows, "Where the patches lay", said, identity, field)


def _svg(width: int, height: int, title: str, said: str, identity: str, *children: Markup) -> Markup:
    labels = (element("title", title, id=f"{identity}-t"), element("desc", said, id=f"{identity}-d"))
    return element(
        "svg", *labels, *children, viewBox=f"0 0 {width} {height}", role="img",
        aria_labelledby=f"{identity}-t {identity}-d",
    )  # fmt: skip


def _scale(values: Sequence[float], *, logarithmic: bool) -> Callable[[float], float]:
    """Values to x in the drawing."""
    turn: Callable[[float], float] = (lambda v: math.log(max(v, 0.5))) if logarithmic else (lambda v: v)
    low, high = turn(values[0]), turn(values[-1])
    span = (high - low) or 1.0
    pad = 10  # so that no mark stands on the axis

    def place(value: float) -> float:
        if high == low:
            return (LEFT + WIDTH - RIGHT) / 2
        return LEFT + pad + (turn(value) - low) / span * (WIDTH - LEFT - RIGHT - 2 * pad)

    return place


def _y(percent: float) -> float:
    return TOP + (100 - percent) / 100 * (HEIGHT - TOP - BOTTOM)


def _grid() -> Markup:
    lines = []
    for percent in range(0, 101, 25):
        y = _y(percent)
        lines += [
            element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, stroke="var(--line)"),
            element("text", f"{percent} %", x=LEFT - 8, y=y + 4, text_anchor="end"),
        ]
    return join(*lines)


def _ticks(values: Sequence[float], place: Callable[[float], float], axis: str) -> Markup:
    marks, last = [], -math.inf
    for value in values:
        x = place(value)
        if x - last > 34:  # labels must not touch
            marks.append(element("text", _value(value, axis), x=x, y=HEIGHT - BOTTOM + 18, text_anchor="middle"))
            last = x
    name = "patch, share of the image" if axis == "area" else axis
    marks.append(element("text", name, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 4, text_anchor="middle"))
    return join(*marks)


def _series(points: Sequence[dict[str, Any]], place: Callable[[float], float], number: int) -> list[Markup]:
    colour = f"var(--c{number % COLOURS})"
    path = [(place(p["value"]), p["robust"]) for p in points]
    edge = [(x, _y(r["high"])) for x, r in path] + [(x, _y(r["low"])) for x, r in reversed(path)]
    made = [
        element("path", d=_path(edge) + "Z", fill=colour, fill_opacity=0.13),
        element("path", d=_path([(x, _y(r["value"])) for x, r in path]), fill="none", stroke=colour, stroke_width=2.5),
    ]
    for x, found in path:
        said = f"{found['value']:g} % [{found['low']:g}, {found['high']:g}], n = {found['n']}"
        made.append(element("circle", element("title", said), cx=x, cy=_y(found["value"]), r=4, fill=colour))
    return made


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _value(value: float, axis: str) -> str:
    return f"{100 * value:g} %" if axis == "area" else f"{value:g}"
