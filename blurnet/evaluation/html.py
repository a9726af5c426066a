"""``report.html``: one file that loads nothing, from the content of report.json and the kept pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from blurnet.evaluation.document import bar, document, said
from blurnet.evaluation.gallery import Shown, gallery
from blurnet.evaluation.html_images import attacks, charts, headline, stages
from blurnet.evaluation.markup import Markup, element, join, png, table
from blurnet.evaluation.summary import evidence, sanity_note
from blurnet.files import write_atomic

Rows = Sequence[tuple[str, Sequence[Shown]]]


def write_html(folder: Path, report: Mapping[str, Any], rows: Rows = (), pictures: Sequence[Path] = ()) -> Path:
    """Write ``report.html`` into an existing folder, whole or not at all, and return its path."""
    plots = {path.stem: path.read_bytes() for path in pictures}
    write_atomic(folder / "report.html", page(report, rows, plots))
    return folder / "report.html"


def page(report: Mapping[str, Any], rows: Rows = (), plots: Mapping[str, bytes] | None = None) -> str:
    """The whole document.

    Args:
        report: content of report.json.
        rows: the kept images, see :func:`blurnet.evaluation.gallery.kept_images`.
        plots: PNG files by name, drawn for the attacks with one noise for all victims.
    """
    title = f"Robustness of {report['model']['name']}"
    images = report.get("per_image")
    parts = [_header(report), _flags(report)]
    if images:
        parts += [attacks(images), stages(images), charts(images)]
    if rows:
        note = "Red frame: broken. Blue frame: still answered rightly. Captions give the answer and its confidence."
        parts.append(join(element("h2", "What it looks like"), element("p", note, class_="soft"), gallery(rows)))
    parts += [_universal(report, plots or {}), _repeat(report)]
    return document(title, join(*parts))


def _header(report: Mapping[str, Any]) -> Markup:
    model, images = report["model"], report.get("per_image")
    title = element("h1", f"Robustness of {model['name']}")
    notes = [element("p", report[part]["note"]) for part in ("defenses", "adaptive") if report.get(part)]
    head = element("header", element("p", "blurnet evaluation", class_="eyebrow"), title, *notes)
    return join(head, headline(images) if images else None, _tiles(report))


def _tiles(report: Mapping[str, Any]) -> Markup:
    model, victims = report["model"], report.get("victims")
    tiles: list[tuple[str, str, str]] = []
    if report.get("clean"):
        tiles.append(_tile(f"accuracy on {report['data']['name']}", report["clean"]["accuracy"]))
    if victims:
        tiles.append(_tile(f"accuracy on the victims ({victims['name']})", report["victims_clean"]["accuracy"]))
    groups = (report.get("per_image") or {}).get("by_threat", [])
    tiles += [_tile(f"robust against {group['threat']}", group["robust"]) for group in groups]
    tiles.append(("parameters", f"{model['parameters']:,}", f"sha256 {model['sha256'][:12]}…"))
    made = [
        element("div", element("dt", name), element("dd", value, element("span", more))) for name, value, more in tiles
    ]
    return element("dl", *made, class_="tiles card")


def _tile(name: str, rate: Mapping[str, Any]) -> tuple[str, str, str]:
    return name, f"{rate['value']:.1f} %", f"{rate['low']:.1f}-{rate['high']:.1f}, n = {rate['n']:,}"


def _flags(report: Mapping[str, Any]) -> Markup | None:
    flags = report.get("flags") or []
    if not flags:
        note = sanity_note(report)
        return element("p", note, class_="soft") if note else None
    cards = []
    for flag in flags:
        said = (("Cause", flag["cause"]), ("What to do", flag["cure"]), ("Seen", evidence(flag)))
        lines = [piece for name, text in said for piece in (element("dt", name), element("dd", text))]
        cards.append(element("article", element("h3", f"⚑ {flag['name']}"), element("dl", *lines), class_="card flag"))
    intro = "Signs that the attacks were hindered rather than withstood. The numbers above may be too good."
    return join(element("h2", "Flags"), element("p", intro), *cards)


def _universal(report: Mapping[str, Any], plots: Mapping[str, bytes]) -> Markup | None:
    """The attacks with one noise for all victims, target by target."""
    found = [(f"{attack['name']}, made on this model", attack) for attack in report["attacks"]]
    if transfer := report.get("transfer"):
        found.append((f"{transfer['name']}, transferred from {transfer['source']}", transfer))
    if not found:
        return None
    cards = [element("div", element("h3", title), *_targets(attack), class_="card") for title, attack in found]
    if plots:
        shown = [png(data, name.replace("_", " ")) for name, data in plots.items()]
        made = element("summary", "Pictures of the first attack"), element("div", *shown, class_="plots")
        cards.append(element("details", *made))
    intro = (
        "One noise shared by all victims. Success is any change of the answer; reaching the target stands beside it."
    )
    return join(element("h2", "One sticker for all victims"), element("p", intro, class_="soft"), *cards)


def _targets(attack: Mapping[str, Any]) -> list[Markup]:
    average, worst = attack["average"], attack["worst"]
    mean = {"value": average["asr"], "low": average["low"], "high": average["high"]}
    rows: list[list[object]] = [["average", bar(mean, "fall"), said(mean), _percent(average["targeted"])]]
    rows += [[f"worst: {worst['name']}", bar(worst["asr"], "fall"), said(worst["asr"]), ""]]
    every: list[list[object]] = [
        [row["name"], bar(row["asr"], "fall"), said(row["asr"]), said(row["targeted"])] for row in attack["per_target"]
    ]
    head: list[object] = ["target", "", "altered", "reached the target"]
    caption = f"{average['n']} attacked images; mean dissimilarity {average['dissimilarity']:.3f}"
    more = element("details", element("summary", "Every target"), table(head, every, "Every target", 2))
    return [table(head, rows, caption, 2), more, element("pre", element("code", attack["repr"]))]


def _repeat(report: Mapping[str, Any]) -> Markup:
    rows: list[list[object]] = [["blurnet", report["blurnet"]], *([k, v] for k, v in report["versions"].items())]
    made = "The rates are exact counts; intervals are Clopper-Pearson at 95 %. This page loads nothing from a network."
    return join(
        element("h2", "Repeat it"),
        element("pre", element("code", report["command"])),
        element("details", element("summary", "Versions"), table(["library", "version"], rows, "Versions")),
        element("p", "Weights sha256 ", element("code", report["model"]["sha256"]), class_="small soft"),
        element("footer", made),
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} %"
