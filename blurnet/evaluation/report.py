"""The report: one JSON for programs, one Markdown for people, one line of JSON for each attacked image.

``report.json`` has "format" 2. Format 1 lacked "per_image", "adaptive", "sanity" and flags, and earlier reports of
either lack "defenses"; all that they had is where it was, so that :func:`blurnet.evaluation.reading.read_report` reads
them all.
"""

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

from blurnet.evaluation.campaign import Target
from blurnet.evaluation.examine import all_flags
from blurnet.evaluation.per_image import Outcome, PerImage
from blurnet.evaluation.report_images import image_rows, images_part
from blurnet.evaluation.results import AttackResult, Results
from blurnet.evaluation.robustness import Robustness
from blurnet.evaluation.samples import sample_header, sample_rows, write_lines
from blurnet.evaluation.summary import markdown
from blurnet.files import write_atomic
from blurnet.nets.vision import count_parameters

FORMAT = 2
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
    adaptive: dict[str, Any] | None = None  #: which gradient the attacks saw, see :func:`adaptive_part`
    defenses: dict[str, Any] | None = None  #: see :func:`blurnet.evaluation.defenses.defenses_part`


def adaptive_part(used: bool, transforms: Sequence[str]) -> dict[str, Any]:
    """``report["adaptive"]``: whether attacks saw the surrogate gradients of the model's transformations.

    used: whether they were allowed to; transforms: repr of each transformation of the model.
    """
    if not transforms:
        note = "The model has no input transformation: its own gradient is exact."
    elif used:
        note = "Attacks saw each transformation's exact values with the gradient of its differentiable surrogate."
    else:
        note = "NOT adaptive: attacks saw the transformations' own gradients only, so robustness is overstated."
    return {"used": used, "transforms": list(transforms), "note": note}


def build_report(
    results: Results,
    robustness: Robustness,
    subject: Subject,
    *,
    images: tuple[PerImage, tuple[Outcome, ...]] | None = None,
    sanity: Sequence[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The content of ``report.json``: no times, so that a rerun writes the same bytes. Rates are in percent.

    Args:
        results: what RP2 found, and clean accuracy.
        robustness: the module that measured it.
        subject: names.
        images: the attacks image by image with their outcomes, where there are any.
        sanity: rows of :func:`blurnet.evaluation.examine.examine`; None: the checks were not run.
    """
    victims = robustness.victims
    white_box = [a for a in results.attacks if a.source is None]
    transfer = [a for a in results.attacks if a.source is not None]
    classes = () if victims is None else victims.classes
    return {
        "format": FORMAT,
        "blurnet": version("blurnet"),
        "versions": versions(),
        "command": subject.command,
        "model": {
            "name": subject.model,
            "sha256": subject.sha256,
            "parameters": count_parameters(robustness.net),
            "spec": subject.spec,
        },
        "data": {"name": subject.data, "n": results.clean.n} if results.clean and subject.data else None,
        "victims": {"name": victims.name, "n": len(victims.labels), "mask": subject.mask} if victims else None,
        "clean": {"accuracy": results.clean.as_dict()} if results.clean else None,
        "victims_clean": {"accuracy": results.victims_clean.as_dict()} if results.victims_clean else None,
        "defenses": subject.defenses,
        "adaptive": subject.adaptive,
        "per_image": images_part(*images) if images else None,
        "attacks": [_attack(result, classes) for result in white_box],
        "transfer": {**_attack(transfer[0], classes), "source": transfer[0].source} if transfer else None,
        "sanity": None if sanity is None else [{**row, "flags": [f["name"] for f in row["flags"]]} for row in sanity],
        "flags": all_flags(sanity or ()),
    }


def versions() -> dict[str, str]:
    """Python and the libraries that numbers depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def write_report(
    folder: Path, report: dict[str, Any], robustness: Robustness, outcomes: tuple[Outcome, ...] = ()
) -> None:
    """Write ``samples.jsonl``, ``summary.md`` and ``report.json`` into an existing folder, each whole or not at all."""
    header = sample_header(report, robustness, outcomes)
    write_lines(folder / "samples.jsonl", chain([header], image_rows(outcomes), sample_rows(robustness)))
    write_atomic(folder / "summary.md", markdown(report))
    # Last: who finds the report finds everything.
    write_atomic(folder / "report.json", json.dumps(report, indent=2, allow_nan=False) + "\n")


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


def _class(classes: tuple[str, ...], target: Target) -> str:
    return "untargeted" if target is None else classes[target]
