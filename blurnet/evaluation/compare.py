"""Several reports side by side."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blurnet.checks import check_writable
from blurnet.evaluation.document import bar, document, said
from blurnet.evaluation.markup import Markup, element, join, table
from blurnet.evaluation.reading import read_report
from blurnet.files import write_atomic
from blurnet.zoo.describe import call

Rate = dict[str, Any]
Line = tuple[str, list[Rate | None]]


def compare(paths: Sequence[str | os.PathLike[str]], out: Path | None = None) -> str:
    """Reports side by side, one column each, in Markdown; as an HTML page in ``out`` too, where that is given.

    Args:
        paths: files report.json, or folders that hold one.
        out: file to write, its folder made where missing.

    Raises:
        FileNotFoundError, ValueError: a file that is missing or no report; the message names it.
    """
    reports = [_checked(path) for path in paths]
    names, rows, notes = _names(reports), lines(reports), remarks(reports)
    if out is not None:
        check_writable(out.parent, "output folder")
        write_atomic(out, _page(names, rows, notes, reports))
    return _markdown(names, rows, notes)


def _checked(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A report that can be shown: what it lacks deep inside is found here, where its name is at hand."""
    report = read_report(path)
    try:
        _page(_names([report]), lines([report]), remarks([report]), [report])
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ValueError(f"{path}: a damaged report ({type(error).__name__}: {error})") from error
    return report


def lines(reports: Sequence[dict[str, Any]]) -> list[Line]:
    """Every rate that any of the reports holds, in order of first appearance; None where one lacks it."""
    columns = [dict(_rates(report)) for report in reports]
    keys = dict.fromkeys(key for column in columns for key in column)
    # Headline numbers of all reports first, as each report itself has them.
    ordered = sorted(keys, key=lambda key: next(i for i, start in enumerate(_ORDER) if key.startswith(start)))
    return [(key, [column.get(key) for column in columns]) for key in ordered]


def remarks(reports: Sequence[dict[str, Any]]) -> list[str]:
    """What makes the numbers of these reports less comparable, or less believable."""
    found = []
    for name, report in zip(_names(reports), reports, strict=True):
        found += [f"{name}: flag {flag['name']}: {flag['cause']}" for flag in report["flags"]]
        if report["adaptive"] and report["adaptive"]["transforms"] and not report["adaptive"]["used"]:
            found.append(f"{name}: {report['adaptive']['note']}")
    pools = {str((r["per_image"]["on"], r["per_image"]["by_threat"][0]["threat"])) for r in reports if r["per_image"]}
    if len(pools) > 1:
        found.append("The worst cases are over different images or different threats: they do not compare.")
    if len({report["model"]["sha256"] for report in reports}) < len(reports):
        found.append("Some reports are about the same weights.")
    return found


_ORDER = ("robust accuracy, worst", "accuracy", "robust accuracy", "altered")


def _rates(report: dict[str, Any]) -> list[tuple[str, Rate]]:
    found: list[tuple[str, Rate]] = []
    if images := report["per_image"]:
        found.append((f"robust accuracy, worst case on {images['on']['name']}", images["robust"]))
        found += [(f"robust accuracy, {a['name']}: {a['threat']}", a["robust"]) for a in images["attacks"]]
        found.append((f"accuracy on {images['on']['name']}", images["clean"]))
    if report.get("clean"):
        found.append((f"accuracy on {report['data']['name']}", report["clean"]["accuracy"]))
    for attack in report["attacks"]:
        average = attack["average"]
        mean = {"value": average["asr"], "low": average["low"], "high": average["high"], "n": average["n"]}
        found.append((f"altered by {attack['name']}, average over targets", mean))
        found.append((f"altered by {attack['name']}, worst target", attack["worst"]["asr"]))
    return found


def _names(reports: Sequence[dict[str, Any]]) -> list[str]:
    """The models' names with what was put in front of them, numbered where they repeat."""
    names = [_name(report) for report in reports]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: i + 1].count(name)})" for i, name in enumerate(names)
    ]


def _name(report: dict[str, Any]) -> str:
    added = [call(part["name"], part["args"]) for part in (report["defenses"] or {}).get("added", ())]
    return " behind ".join(filter(None, [str(report["model"]["name"]), ", ".join(added)]))


def _markdown(names: Sequence[str], rows: Sequence[Line], notes: Sequence[str]) -> str:
    out = [f"| | {' | '.join(map(_plain, names))} |", f"| --- |{' ---: |' * len(names)}"]
    for key, rates in rows:
        cells = [
            "-" if r is None else f"{r['value']:.1f} % [{r['low']:.1f}, {r['high']:.1f}], n = {r['n']}" for r in rates
        ]
        out.append(f"| {_plain(key)} | {' | '.join(cells)} |")
    return "\n".join([*out, "", *(f"- {note}" for note in notes)]).rstrip()


def _plain(text: str) -> str:
    """A text that does not end its cell."""
    return text.replace("|", "\\|").replace("\n", " ")


def _page(names: Sequence[str], rows: Sequence[Line], notes: Sequence[str], reports: Sequence[dict[str, Any]]) -> str:
    head: list[object] = ["", *names]
    body: list[list[object]] = [
        [key, *(said(None) if rate is None else _cell(key, rate) for rate in rates)] for key, rates in rows
    ]
    listed = element("ul", *(element("li", note) for note in notes)) if notes else None
    commands = [
        join(element("h3", name), element("pre", element("code", report["command"])))
        for name, report in zip(names, reports, strict=True)
    ]
    made = join(
        element("h1", f"{len(names)} reports side by side"),
        element("div", table(head, body, "Rates with their 95 % intervals"), class_="card"),
        listed,
        element("h2", "Commands"),
        *commands,
    )
    return document("Reports side by side", made)


def _cell(key: str, rate: Rate) -> Markup:
    kind = "fall" if key.startswith("altered") else "stand"
    return join(bar(rate, kind), element("span", f"{said(rate)}, n = {rate['n']}", class_="small"))
