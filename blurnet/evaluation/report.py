"""The report: one JSON for programs, one Markdown for people, one line of JSON for each attacked image."""

import json
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from blurnet.evaluation.campaign import Campaign, Target
from blurnet.evaluation.metrics import dissimilarity
from blurnet.evaluation.results import AttackResult, Results
from blurnet.evaluation.robustness import Robustness
from blurnet.nets.vision import count_parameters
from blurnet.zoo.files import write_atomic

FORMAT = 1
LIBRARIES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics", "numpy", "scipy")


@dataclass(frozen=True)
class Subject:
    """What was evaluated, as the report names it."""

    command: str
    model: str  #: name of the model
    sha256: str
    spec: dict[str, Any] | None  #: of a zoo model
    data: str | None  #: of the clean test set
    mask: str


def build_report(results: Results, robustness: Robustness, subject: Subject) -> dict[str, Any]:
    """The content of ``report.json``: no times, so that a rerun writes the same bytes. Rates are in percent."""
    victims = robustness.victims
    white_box = [a for a in results.attacks if a.source is None]
    transfer = [a for a in results.attacks if a.source is not None]
    data = {"name": subject.data, "n": results.clean.n} if results.clean and subject.data else None
    return {
        "format": FORMAT,
        "blurnet": version("blurnet"),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
        "command": subject.command,
        "model": {
            "name": subject.model,
            "sha256": subject.sha256,
            "parameters": count_parameters(robustness.net),
            "spec": subject.spec,
        },
        "data": data,
        "victims": {"name": victims.name, "n": len(victims.labels), "mask": subject.mask},
        "clean": {"accuracy": results.clean.as_dict()} if results.clean else None,
        "victims_clean": {"accuracy": results.victims_clean.as_dict()},
        "attacks": [_attack(result, victims.classes) for result in white_box],
        "transfer": {**_attack(transfer[0], victims.classes), "source": transfer[0].source} if transfer else None,
        "flags": [],
    }


def sample_rows(robustness: Robustness) -> Iterator[dict[str, Any]]:
    """One row for each campaign, target and victim, from the finished work in the robustness' folder."""
    victims = robustness.victims
    for campaign, name in zip(robustness.campaigns, robustness.names, strict=True):
        for target in campaign.targets:
            work = robustness.store.load(name, target)
            far = dissimilarity(victims.images.cpu(), work.adversarial)
            for i, label in enumerate(victims.labels.tolist()):
                yield {
                    "attack": _title(campaign),
                    "index": i,
                    "label": label,
                    "clean_prediction": int(robustness.before[i]),
                    "target": target,
                    "prediction": int(work.prediction[i]),
                    "confidence": round(float(work.confidence[i]), 6),
                    "dissimilarity": round(float(far[i]), 6),
                }


def write_report(folder: Path, report: dict[str, Any], robustness: Robustness) -> None:
    """Write ``report.json``, ``samples.jsonl`` and ``summary.md`` into an existing folder, each whole or not at all."""
    rows = "".join(json.dumps(row) + "\n" for row in sample_rows(robustness))
    write_atomic(folder / "samples.jsonl", rows)
    write_atomic(folder / "summary.md", markdown(report))
    # Last: who finds the report finds everything.
    write_atomic(folder / "report.json", json.dumps(report, indent=2, allow_nan=False) + "\n")


def markdown(report: dict[str, Any]) -> str:
    """The summary of a report, Markdown."""
    model, victims = report["model"], report["victims"]
    lines = [f"# Robustness of {model['name']}", ""]
    if report["clean"]:
        lines.append(f"- accuracy on {report['data']['name']}: {_rate(report['clean']['accuracy'])}")
    lines += [
        f"- accuracy on the victims ({victims['name']}, mask {victims['mask']}): "
        f"{_rate(report['victims_clean']['accuracy'])}",
        f"- parameters: {model['parameters']:,}; weights sha256 `{model['sha256'][:16]}`",
        "",
        "Attack success is any change of the predicted label; targeted success reaches the target. Intervals are "
        "exact binomial, 95 %. Dissimilarity is |x - x_adv|₂ / |x_adv|₂.",
        "",
    ]
    attacks = [(f"{a['name']}, made on this model", a) for a in report["attacks"]]
    if report["transfer"]:
        transfer = report["transfer"]
        attacks.append((f"{transfer['name']}, transferred from {transfer['source']}", transfer))
    for title, attack in attacks:
        lines += _attack_lines(title, attack)
    return "\n".join([*lines, "## Command", "", f"    {report['command']}", ""])


def _attack(result: AttackResult, classes: tuple[str, ...]) -> dict[str, Any]:
    asr, worst, targeted = result.asr.as_dict(), result.worst, result.targeted
    return {
        "name": result.name,
        "repr": result.attack,
        "seed": result.seed,
        "targets": [r.target for r in result.targets],
        "per_target": [
            {
                "target": r.target,
                "name": _class(classes, r.target),
                "asr": r.asr.as_dict(),
                "targeted": r.targeted.as_dict() if r.targeted else None,
                "dissimilarity": round(r.dissimilarity, 6),
            }
            for r in result.targets
        ],
        "average": {
            "asr": asr["value"],
            "targeted": targeted.as_dict()["value"] if targeted else None,
            "dissimilarity": round(result.dissimilarity, 6),
            "low": asr["low"],
            "high": asr["high"],
            "n": asr["n"],
        },
        "worst": {"target": worst.target, "name": _class(classes, worst.target), "asr": worst.asr.as_dict()},
    }


def _attack_lines(title: str, attack: dict[str, Any]) -> list[str]:
    average, worst = attack["average"], attack["worst"]
    targeted = "-" if average["targeted"] is None else f"{average['targeted']:.2f} %"
    pooled = _rate({**average, "value": average["asr"]})
    lines = [
        f"## {title}",
        "",
        f"`{attack['repr']}`",
        "",
        "| target | attack success | targeted success | dissimilarity |",
        "| --- | ---: | ---: | ---: |",
        f"| **average** | {pooled} | {targeted} | {average['dissimilarity']:.3f} |",
        f"| **worst: {worst['name']}** | {_rate(worst['asr'])} | | |",
    ]
    for row in attack["per_target"]:
        hit = _rate(row["targeted"]) if row["targeted"] else "-"
        number = "" if row["target"] is None else f"{row['target']} "
        lines.append(f"| {number}{row['name']} | {_rate(row['asr'])} | {hit} | {row['dissimilarity']:.3f} |")
    return [*lines, ""]


def _rate(rate: dict[str, Any]) -> str:
    return f"{rate['value']:.2f} % [{rate['low']:.1f}, {rate['high']:.1f}], n = {rate['n']}"


def _class(classes: tuple[str, ...], target: Target) -> str:
    return "untargeted" if target is None else classes[target]


def _title(campaign: Campaign) -> str:
    return campaign.name if campaign.source_name is None else f"{campaign.name} from {campaign.source_name}"
