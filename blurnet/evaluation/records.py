"""One record for each attacked image, kept once finished, so that a killed run goes on where it stopped."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from blurnet.checks import one_of
from blurnet.evaluation.identity import identity
from blurnet.files import read_safetensors, write_atomic

#: In ``Records.stage``, beside an attack's -1 (standing) and -2 (wrong before any attack): the attack took the image
#: for standing, but the model finds it broken in the end (rounding, or a model that answers at random).
LATE = -3


class Records(NamedTuple):
    """What one attack leaves behind of n images; tensors on the CPU."""

    item: Tensor  #: (n,) int64, index in the dataset
    label: Tensor  #: (n,) int64
    clean_prediction: Tensor  #: (n,) int64
    clean_confidence: Tensor  #: (n,) softmax probability of it
    prediction: Tensor  #: (n,) int64, on the adversarial image
    confidence: Tensor  #: (n,) softmax probability of it
    margin: Tensor  #: (n,) logit of the label less the largest other, on the adversarial image
    stage: Tensor  #: (n,) int64, index into the attack's stage names, or -1, -2, LATE
    calls: Tensor  #: (n,) int64, how often the model saw the image under attack
    box: Tensor  #: (n, 4) int64, the patch, half-open (top, bottom, left, right); -1 where there is none
    linf: Tensor  #: (n,) largest change of a value
    l2: Tensor  #: (n,) Euclidean distance
    l0: Tensor  #: (n,) int64, changed pixels
    dissimilarity: Tensor  #: (n,) relative L2 distance, see :func:`dissimilarity`
    kept: Tensor  #: (k, 3, H, W) adversarial images of the first k, for galleries; k may be 0
    noise: Tensor  #: (m, 3, h, w) the noise that all images share, before masking; m is 0 or 1

    @property
    def correct_before(self) -> Tensor:
        """Images that were answered correctly before any attack, (n,) bool."""
        return self.clean_prediction == self.label

    @property
    def robust(self) -> Tensor:
        """Images that were answered correctly before and after, (n,) bool."""
        return self.correct_before & (self.prediction == self.label)

    @property
    def altered(self) -> Tensor:
        """Images whose answer the attack changed, whatever the new one, (n,) bool: BlurNet's and RP2's success."""
        return self.prediction != self.clean_prediction


class Store:
    """Files ``work/<job>/<part>.safetensors``, each written whole or not at all.

    Args:
        folder: the evaluation's output folder. With several machines it must be on a file system they share.
    """

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"

    def path(self, job: str, part: str) -> Path:
        """The file of one part of a job (its name and identity)."""
        return self.work / job / f"{part}.safetensors"

    def has(self, job: str, part: str) -> bool:
        """Whether this part is finished."""
        return self.path(job, part).is_file()

    def save(self, job: str, part: str, records: Records, content: Tensor) -> None:
        """Write records, made of images with this :func:`content`."""
        path = self.path(job, part)
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {name: value.detach().cpu().contiguous() for name, value in records._asdict().items()}
        write_atomic(path, safetensors.torch.save(tensors | {"content": content}))

    def load(self, job: str, part: str, content: Tensor | None = None) -> Records:
        """Read records.

        Args:
            job: its name and identity.
            part: shard or target.
            content: what its images must be, see :func:`content`; None does not look.

        Raises:
            FileNotFoundError: not finished here. ValueError: damaged, or made of other images.
        """
        path = self.path(job, part)
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: all processes must see the same output folder")
        tensors = read_safetensors(path)
        found = tensors.pop("content", None)
        if found is None or set(tensors) != set(Records._fields):
            raise ValueError(f"{path} holds {sorted(tensors)}, not {sorted(Records._fields)}; delete it")
        if content is not None and not torch.equal(found, content):
            raise ValueError(f"{path} was made of other images than these; delete it, or give a new output folder")
        return Records(**tensors)


def content(images: Tensor, labels: Tensor) -> Tensor:
    """Fingerprint (32,) uint8 of images and labels."""
    return torch.frombuffer(bytearray.fromhex(identity(images, labels)), dtype=torch.uint8)


def joined(parts: Sequence[Records]) -> Records:
    """Records one after another."""
    return Records(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def dissimilarity(clean: Tensor, adversarial: Tensor, denominator: Any = "adversarial") -> Tensor:
    """Relative L2 distance of each image, ``||x - x_adv||_2 / ||x_adv||_2``.

    clean, adversarial: images (N, C, H, W). Returns (N,) float32. ``denominator="clean"`` divides by
    ``||x||_2`` instead (Guo et al. 2018). Source: BlurNet (Raju & Lipasti 2020), section on metrics.
    """
    one_of(denominator, ("adversarial", "clean"), "denominator")
    if clean.shape != adversarial.shape:
        raise ValueError(f"shapes differ: clean {tuple(clean.shape)}, adversarial {tuple(adversarial.shape)}")
    base = (adversarial if denominator == "adversarial" else clean).flatten(1).float().norm(dim=1)
    distance: Tensor = (clean.float() - adversarial.float()).flatten(1).norm(dim=1)
    relative: Tensor = distance / base.clamp(min=1e-12)
    return relative
