"""samples.jsonl: a header, then one line for each attack and image."""

from collections.abc import Iterator

from blurnet.evaluation.render.summary import universal
from blurnet.evaluation.report.content import Content
from blurnet.evaluation.report.kept import AttackLine, RecordRow
from blurnet.strict import JSON, plain

DIGITS = 6  #: of numbers in rows


def samples(report: Content) -> Iterator[dict[str, JSON]]:
    """The lines of samples.jsonl, one after the other."""
    yield header(report)
    yield from map(_row, report.records)


def header(report: Content) -> dict[str, JSON]:
    """The first line: attacks with repr and seed, model, versions, command."""
    kept = ("format", "blurnet", "versions", "command", "defenses", "adaptive")
    attacks = report.record_attacks or tuple(_attacks(report))
    return {
        "header": True,
        **{key: plain(getattr(report, key)) for key in kept},
        "model": {"name": report.model.name, "sha256": report.model.sha256},
        "attacks": plain(attacks),
    }


def _attacks(report: Content) -> Iterator[AttackLine]:
    for image in report.per_image.attacks if report.per_image else []:
        yield AttackLine(image.name, image.repr, image.seed, image.threat)
    for attack in universal(report):
        title = attack.name if attack.source is None else f"{attack.name} from {attack.source}"
        yield AttackLine(title, attack.repr, attack.seed, "shared noise")


def _row(record: RecordRow) -> dict[str, JSON]:
    row: dict[str, JSON] = plain(record)
    return {key: round(value, DIGITS) if isinstance(value, float) else value for key, value in row.items()}
