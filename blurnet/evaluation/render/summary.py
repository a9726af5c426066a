"""summary.md, and what a report says in words."""

from blurnet.evaluation.report.content import Content
from blurnet.evaluation.report.parts import FlagPart, UniversalAttack
from blurnet.templates import render

PACKAGE = "blurnet.evaluation.render"  #: whose templates these are


def summary(report: Content) -> str:
    """A report for people, Markdown."""
    return render(
        PACKAGE, "summary.md.jinja", report=report, universal=universal(report), evidence=evidence,
        sanity=sanity_note(report),
    )  # fmt: skip


def universal(report: Content) -> list[UniversalAttack]:
    """The attacks with one noise for all victims, those made on another model last."""
    return [*report.attacks, *([report.transfer] if report.transfer else [])]


def sanity_note(report: Content) -> str:
    """One sentence on the sanity checks of a report without flags."""
    if report.sanity is None:
        return "The sanity checks were NOT run."
    if not report.sanity:
        return "The sanity checks had nothing to look at: no attack is bound to a patch, a mask or a ball."
    if not any(row.images for row in report.sanity):
        return "The sanity checks had no image to look at: the model answers none of the first ones correctly."
    counts = ", ".join(f"{row.images} images ({row.threat})" for row in report.sanity)
    return f"The sanity checks raised no flag on {counts}."


def evidence(flag: FlagPart) -> str:
    """What a check saw, as text."""
    seen = (
        f"{key.replace('_', ' ')} {f'{value:.4g}' if isinstance(value, float) else value}"
        for key, value in flag.evidence.items()
    )
    return ", ".join(seen) + (f" ({flag.threat})" if flag.threat else "")
