"""The sections of report.html on attacks image by image: worst case, each attack, stages, curves, places."""

from collections.abc import Mapping
from typing import Any

from blurnet.evaluation.document import bar, said
from blurnet.evaluation.markup import Markup, element, join, table
from blurnet.evaluation.svg import heat_map, line_chart

AXES = {"area": "size of the patch", "steps": "number of steps"}


def headline(images: Mapping[str, Any]) -> Markup:
    """The number to quote, and what became of every image."""
    robust, n, wrong = images["robust"], images["on"]["n"], images["wrong_before"]
    broken = n - wrong - robust["count"]
    parts = (
        ("stand", "still right", robust["count"]),
        ("fall", "broken by an attack", broken),
        ("miss", "wrong before any attack", wrong),
    )
    stack = [element("i", class_=kind, style=f"width:{100 * count / n:.3f}%") for kind, _, count in parts if count]
    keys = [element("li", element("i", class_=kind), f"{count} {text}") for kind, text, count in parts]
    number = element("div", f"{robust['value']:.1f}", element("small", " %"), class_="figure")
    several = "the attack" if len(images["attacks"]) == 1 else f"all {len(images['attacks'])} attacks"
    left = element(
        "div", element("p", "Robust accuracy", class_="eyebrow soft"), number,
        element("p", f"95 % interval {robust['low']:.1f}-{robust['high']:.1f}, n = {n}", class_="soft small"),
    )  # fmt: skip
    right = element(
        "div",
        element("p", f"Share of {n} images of {images['on']['name']} that the model answers rightly before and after "
                f"{several}: for each image the worst case counts."),
        element("div", *stack, class_="stack", aria_hidden="true"),
        element("ul", *keys, class_="key"),
    )  # fmt: skip
    return element("section", left, right, class_="card headline", aria_label="Headline")


def attacks(images: Mapping[str, Any]) -> Markup:
    """Each attack by itself, with its settings."""
    head: list[object] = ["attack", "may change", "", "robust accuracy", "broke", "calls, median", "pixels", "L2"]
    rows: list[list[object]] = []
    for attack in images["attacks"]:
        far = attack["distance"]
        rows.append(
            [attack["name"], attack["threat"], bar(attack["robust"]), said(attack["robust"]), said(attack["success"])]
            + [f"{attack['calls']['median']:,}", _number(far["l0"], 0), _number(far["l2"], 2)]
        )
    lines = [element("pre", element("code", attack["repr"])) for attack in images["attacks"]]
    caption = "Each attack by itself. “Broke” is of the images answered rightly; pixels and L2 are means over them."
    settings = element("details", element("summary", "Every setting"), *lines)
    return join(element("h2", "Attacks"), element("div", table(head, rows, caption, 3), settings, class_="card"))


def stages(images: Mapping[str, Any]) -> Markup | None:
    """Which stage broke how many, for attacks of several stages."""
    several = [attack for attack in images["attacks"] if len(attack["stages"]) > 3]
    cards = []
    for attack in several:
        lines = []
        for stage in attack["stages"]:
            share = 100 * stage["n"] / images["on"]["n"]
            kind = {"wrong before any attack": "miss", "still standing": "stand"}.get(stage["name"], "fall")
            fill = element("div", element("i", class_=kind, style=f"width:{share:.3f}%"), class_="bar")
            lines += [element("dt", stage["name"]), element("dd", fill), element("dd", f"{stage['n']}")]
        made = element("h3", attack["name"]), element("dl", *lines, class_="stages")
        cards.append(element("div", *made, class_="card"))
    if not cards:
        return None
    intro = "Stages run in this order, each on the images that the ones before left standing."
    return join(element("h2", "What broke them"), element("p", intro, class_="soft"), *cards)


def charts(images: Mapping[str, Any]) -> Markup | None:
    """Curves over size and steps, and where the patches lay; None where there is neither."""
    cards = []
    for axis in dict.fromkeys(curve["axis"] for curve in images["curves"]):
        series = [(c["attack"], c["points"]) for c in images["curves"] if c["axis"] == axis]
        rows: list[list[object]] = [
            [name, f"{100 * p['value']:g} %" if axis == "area" else f"{p['value']:g}", said(p["robust"])]
            for name, points in series
            for p in points
        ]
        numbers = element("details", element("summary", "Numbers"), table(["attack", axis, "robust"], rows, axis))
        title = element("h3", f"Robust accuracy over the {AXES.get(axis, axis)}")
        cards.append(element("figure", title, line_chart(series, axis, f"curve-{axis}"), numbers, class_="card"))
    if images["places"]:
        caption = element("figcaption", "Share of the patches that broke an image over each place; red is most.")
        title = element("h3", "Where the patches lay")
        cards.append(element("figure", title, heat_map(images["places"], "places"), caption, class_="card map"))
    return join(element("h2", "Size, effort and place"), element("div", *cards, class_="charts")) if cards else None


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
