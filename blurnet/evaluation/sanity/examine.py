"""The sanity checks of an evaluation: each threat once, on the images that were attacked, kept for the next run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from blurnet.evaluation.identity import identity
from blurnet.evaluation.images import Pool
from blurnet.evaluation.jobs import Job
from blurnet.evaluation.sanity.check import check
from blurnet.evaluation.sanity.flags import Flag
from blurnet.evaluation.threats import InBall, InMask, Nearest, SquarePatch, Threat
from blurnet.files import read_json, write_json
from blurnet.masks import Place
from blurnet.strict import from_dict, plain
from blurnet.transforms.base import reset_transforms

#: The checks take the first 32 images that are answered correctly, out of the first so many.
LOOKED_AT = 128


@dataclass(frozen=True)
class Examined:
    """What the checks say of one threat: on how many images they looked, and the flags raised."""

    threat: str
    images: int
    flags: list[Flag]


@dataclass(frozen=True, eq=False)
class Examination:
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
        source = "none" if self.source is None else self.source
        return identity(self.net, self.attacked, self.threat, self.images, self.labels, self.seed, source)

    def examined(self, device: torch.device) -> Examined:
        """Run the checks on ``device``."""
        net, attacked = self.net.to(device).eval(), self.attacked.to(device).eval()
        reset_transforms(attacked)
        images, labels = self.images.to(device), self.labels.to(device)
        with torch.no_grad():
            correct = net(images).argmax(1) == labels
        number = min(int(correct.sum()), 32)
        if not number:
            return Examined(self.threat.text, 0, [])  # nothing to attack: the headline says so
        source = None if self.source is None else self.source.to(device).eval()
        where = _where(self.threat)
        flags = check(attacked, images[correct], labels[correct], seed=self.seed, source=source, **where)
        return Examined(self.threat.text, number, list(flags))


def examinations(
    jobs: Sequence[Job], net: nn.Module, attacked: nn.Module, seed: int, source: nn.Module | None
) -> list[Examination]:
    """Every threat that the jobs' attacks were bound to on this model, once, on the images that they attacked."""
    found: dict[str, Examination] = {}
    white = [job for job in jobs if job.threat is not None and job.point is None and job.source_name is None]
    for job in sorted(white, key=lambda job: job.universal):
        if job.threat is None or isinstance(job.threat, Nearest):
            continue  # fooling at any distance says nothing that could be checked
        if job.threat.text not in found:
            some = _first(job.images)
            found[job.threat.text] = Examination(net, attacked, job.threat, *some, seed, source)
    return list(found.values())


def examine(listed: Sequence[Examination], folder: Path, device: torch.device) -> list[Examined]:
    """Check every threat, unless the folder holds the result already; one row each."""
    rows = []
    for examination in listed:
        path = folder / "work" / f"sanity-{examination.key()[:12]}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, plain(examination.examined(device)))
        rows.append(from_dict(Examined, read_json(path), str(path)))
    return rows


def _first(images: Pool) -> tuple[Tensor, Tensor]:
    return images.read(range(min(len(images), LOOKED_AT)))


def _where(threat: Threat) -> dict[str, Any]:
    """The threat in the words of the checks."""
    if isinstance(threat, SquarePatch):
        return {"mask": Place(threat.area, "anywhere")}
    if isinstance(threat, InMask):
        return {"mask": threat.mask}
    if isinstance(threat, InBall):
        return {"ball": threat.ball}
    raise TypeError(f"the checks know no threat such as {threat!r}")
