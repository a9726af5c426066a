"""The sanity checks of an evaluation: each threat once, on the images that were attacked, kept for the next run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from blurnet.evaluation.identity import identity
from blurnet.evaluation.per_image import PerImage
from blurnet.evaluation.robustness import Robustness
from blurnet.evaluation.sanity import check
from blurnet.evaluation.threats import InBall, InMask, SquarePatch, Threat
from blurnet.files import write_atomic
from blurnet.masks import Place
from blurnet.strict import parse_json
from blurnet.transforms.base import transforms_of

#: The checks take the first 32 images that are answered rightly, out of the first so many.
LOOKED_AT = 128


@dataclass(frozen=True, eq=False)
class Suspect:
    """What is checked: the model as the attacks saw it, one threat, and images.

    Args:
        net: the model whose answers count.
        attacked: what the attacks saw.
        threat: what they were allowed.
        images: (N, 3, H, W) in [0, 1].
        labels: (N,).
        seed: of the checks.
        source: another model, for the check of transfer, or None.
    """

    net: nn.Module
    attacked: nn.Module
    threat: Threat
    images: Tensor
    labels: Tensor
    seed: int = 0
    source: nn.Module | None = None

    def key(self) -> str:
        """Hex digest of all that the result depends on."""
        return identity(
            self.net,
            self.attacked,
            self.threat,
            self.images,
            self.labels,
            self.seed,
            "none" if self.source is None else self.source,
        )

    def examined(self, device: torch.device) -> dict[str, Any]:
        """The threat, on how many images it was checked, and the flags raised, plain data."""
        net, attacked = self.net.to(device).eval(), self.attacked.to(device).eval()
        for transform in transforms_of(attacked):
            transform.reset()
        images, labels = self.images.to(device), self.labels.to(device)
        with torch.no_grad():
            right = net(images).argmax(1) == labels
        row: dict[str, Any] = {"threat": self.threat.text, "images": min(int(right.sum()), 32), "flags": []}
        if not bool(right.any()):
            return row  # nothing to attack: the headline says so
        source = None if self.source is None else self.source.to(device).eval()
        found = check(
            attacked, images[right], labels[right], seed=self.seed, source=source, **_where(self.threat)
        )  # fmt: skip
        return row | {"flags": [flag.as_dict() for flag in found]}


def suspects(
    robustness: Robustness, images: PerImage | None, mask_name: str, seed: int, source: nn.Module | None
) -> list[Suspect]:
    """Every threat that the evaluation's attacks were allowed, once, on the images that they attacked."""
    found: dict[str, Suspect] = {}
    if images is not None:
        some = images.pool.read(range(min(len(images.pool), LOOKED_AT)))
        for threat in [c.threat for c in images.campaigns if c.point is None]:
            found.setdefault(threat.text, Suspect(images.net, images.attacked, threat, *some, seed, source))
    victims = robustness.victims
    if victims is not None and any(campaign.source_name is None for campaign in robustness.campaigns):
        threat = InMask(mask_name, victims.masks[mask_name])
        some = victims.images[:LOOKED_AT], victims.labels[:LOOKED_AT]
        found.setdefault(threat.text, Suspect(robustness.net, robustness.attacked, threat, *some, seed, source))
    return list(found.values())


def examine(listed: Sequence[Suspect], folder: Path, device: torch.device) -> list[dict[str, Any]]:
    """Check every threat, unless the folder holds the result already; one row each."""
    rows = []
    for suspect in listed:
        path = folder / "work" / f"sanity-{suspect.key()[:12]}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, json.dumps(suspect.examined(device), indent=2, allow_nan=False) + "\n")
        rows.append(parse_json(path.read_text(), str(path)))
    return rows


def all_flags(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The flags of all threats, each name once, with the first threat that raised it."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        for flag in row["flags"]:
            found.setdefault(flag["name"], {**flag, "threat": row["threat"]})
    return list(found.values())


def _where(threat: Threat) -> dict[str, Any]:
    """The threat in the words of the checks."""
    if isinstance(threat, SquarePatch):
        return {"mask": Place(threat.area, "anywhere")}
    if isinstance(threat, InMask):
        return {"mask": threat.mask}
    if isinstance(threat, InBall):
        return {"ball": threat.ball}
    raise TypeError(f"the checks know no threat such as {threat!r}")
