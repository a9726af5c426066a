"""Several reports side by side."""

import os
from collections.abc import Sequence
from pathlib import Path

from blurnet.checks import check_writable
from blurnet.evaluation.render.summary import PACKAGE
from blurnet.evaluation.report.report import Report, read_report
from blurnet.files import write_atomic
from blurnet.rates import Rate
from blurnet.templates import render
from blurnet.zoo.describe import call

#: What a rate is of, and its value in each report; None where one lacks it.
Row = tuple[str, list[Rate | None]]


def compare(paths: Sequence[str | os.PathLike[str]], out: Path | None = None) -> str:
    """Reports side by side, one column each, in Markdown; as an HTML page in ``out`` too, where that is given.

    Args:
        paths: files report.json, or folders that hold one.
        out: file to write, its folder made where missing.

    Raises:
        FileNotFoundError, ValueError: a file that is missing or no report; the message names it.
    """
    reports = [read_report(path) for path in paths]
    names = model_names(reports)
    shown = {"names": names, "rows": rates(reports), "notes": remarks(reports)}
    if out is not None:
        check_writable(out.parent, "output folder")
        commands = [(name, report.command) for name, report in zip(names, reports, strict=True)]
        page = render(PACKAGE, "compare.html.jinja", title="Reports side by side", commands=commands, **shown)
        write_atomic(out, page)
    return render(PACKAGE, "compare.md.jinja", **shown).rstrip()


def rates(reports: Sequence[Report]) -> list[Row]:
    """Every rate that any of the reports holds, in order of first appearance."""
    columns = [dict(_rates(report)) for report in reports]
    keys = dict.fromkeys(key for column in columns for key in column)
    # Headline numbers of all reports first, as each report itself has them.
    ordered = sorted(keys, key=lambda key: next(i for i, start in enumerate(_ORDER) if key.startswith(start)))
    return [(key, [column.get(key) for column in columns]) for key in ordered]


def remarks(reports: Sequence[Report]) -> list[str]:
    """What makes the numbers of these reports less comparable, or less believable."""
    found = []
    for name, report in zip(model_names(reports), reports, strict=True):
        found += [f"{name}: flag {flag.name}: {flag.cause}" for flag in report.flags]
        if report.adaptive and report.adaptive.transforms and not report.adaptive.used:
            found.append(f"{name}: {report.adaptive.note}")
    worst_of = {repr((r.per_image.on, [t.threat for t in r.per_image.by_threat][:1])) for r in reports if r.per_image}
    if len(worst_of) > 1:
        found.append("The worst cases are over different images or different threats: they do not compare.")
    if len({report.model.sha256 for report in reports}) < len(reports):
        found.append("Some reports are about the same weights.")
    return found


_ORDER = ("certified accuracy", "robust accuracy, worst", "accuracy", "robust accuracy", "altered")


def _rates(report: Report) -> list[tuple[str, Rate]]:
    found: list[tuple[str, Rate]] = []
    if proof := report.certified:
        found.append((f"certified accuracy on {proof.on.name}: {proof.threat}", proof.certified))
    if images := report.per_image:
        found.append((f"robust accuracy, worst case on {images.on.name}", images.robust))
        found += [(f"robust accuracy, {a.name}: {a.threat}", a.robust) for a in images.attacks]
        found.append((f"accuracy on {images.on.name}", images.clean))
    if report.clean and report.data:
        found.append((f"accuracy on {report.data.name}", report.clean))
    for attack in report.attacks:
        found.append((f"altered by {attack.name}, average over targets", attack.average.asr))
        found.append((f"altered by {attack.name}, worst target", attack.worst.asr))
    return found


def model_names(reports: Sequence[Report]) -> list[str]:
    """The models' names with what was put in front of them, numbered where they repeat."""
    names = [_name(report) for report in reports]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: i + 1].count(name)})" for i, name in enumerate(names)
    ]


def _name(report: Report) -> str:
    added = [call(part.name, part.args) for part in (report.defenses.added if report.defenses else [])]
    return " behind ".join(filter(None, [report.model.name, ", ".join(added)]))
