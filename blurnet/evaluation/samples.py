"""samples.jsonl: a header, then one line for each attack and image."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from blurnet.evaluation.campaign import Campaign
from blurnet.evaluation.metrics import dissimilarity
from blurnet.evaluation.per_image import Outcome
from blurnet.evaluation.report_images import campaign_header
from blurnet.evaluation.robustness import Robustness


def sample_rows(robustness: Robustness) -> Iterator[dict[str, Any]]:
    """One row for each campaign, target and victim, from the finished work in the robustness' folder."""
    victims = robustness.victims
    if victims is None:
        return
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


def sample_header(report: dict[str, Any], robustness: Robustness, outcomes: tuple[Outcome, ...]) -> dict[str, Any]:
    """The first line of ``samples.jsonl``: attacks with repr and seed, model, versions, command."""
    universal = [
        {"name": _title(c), "repr": repr(c.attack), "seed": getattr(c.attack, "seed", None), "threat": "shared noise"}
        for c in robustness.campaigns
    ]
    kept = {key: report[key] for key in ("format", "blurnet", "versions", "command", "defenses", "adaptive")}
    model = {key: report["model"][key] for key in ("name", "sha256")}
    return {"header": True, **kept, "model": model, "attacks": [*campaign_header(outcomes), *universal]}


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as lines of JSON, one at a time, whole or not at all."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("w") as stream:
        for row in rows:
            stream.write(json.dumps(row, allow_nan=False) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)


def _title(campaign: Campaign) -> str:
    return campaign.name if campaign.source_name is None else f"{campaign.name} from {campaign.source_name}"
