"""Finished shards of attacked images on disk, so that a killed evaluation goes on where it stopped."""

from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from blurnet.evaluation.identity import identity
from blurnet.files import read_safetensors, write_atomic

#: In ``ShardWork.stage``, beside attacks.record's -1 (standing) and -2 (wrong before any attack): the attack took the
#: image for standing, but the final judgement finds it broken (rounding, or a model that answers at random).
LATE = -3


class ShardWork(NamedTuple):
    """What one attack leaves behind for the n images of a shard; tensors on the CPU."""

    item: Tensor  #: (n,) int64, index in the dataset
    label: Tensor  #: (n,) int64
    clean_prediction: Tensor  #: (n,) int64
    clean_confidence: Tensor  #: (n,) softmax probability of it
    prediction: Tensor  #: (n,) int64, on the adversarial image
    confidence: Tensor  #: (n,) softmax probability of it
    margin: Tensor  #: (n,) logit of the label less the largest other, on the adversarial image
    stage: Tensor  #: (n,) int64, see attacks.record, and LATE
    calls: Tensor  #: (n,) int64, how often the model saw the image under attack
    box: Tensor  #: (n, 4) int64, the patch, half-open (top, bottom, left, right); -1 where there is none
    linf: Tensor  #: (n,) largest change of a value
    l2: Tensor  #: (n,) Euclidean distance
    l0: Tensor  #: (n,) int64, changed pixels
    kept: Tensor  #: (k, 3, H, W) adversarial images of the shard's first k, for galleries; k may be 0

    @property
    def robust(self) -> Tensor:
        """Images that were answered rightly before and after, (n,) bool."""
        return (self.clean_prediction == self.label) & (self.prediction == self.label)


class ShardStore:
    """Files ``work/<campaign>/shard-00012.safetensors``, each written whole or not at all.

    Args:
        folder: the evaluation's output folder. With several machines it must be on a file system they share.
    """

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"

    def path(self, campaign: str, shard: int) -> Path:
        """The file of one shard of a campaign (its name and identity)."""
        return self.work / campaign / f"shard-{shard:05d}.safetensors"

    def has(self, campaign: str, shard: int) -> bool:
        """Whether this shard is finished."""
        return self.path(campaign, shard).is_file()

    def save(self, campaign: str, shard: int, work: ShardWork, content: Tensor) -> None:
        """Write one shard's work, made of images with this :func:`content`."""
        path = self.path(campaign, shard)
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {name: value.detach().cpu().contiguous() for name, value in work._asdict().items()}
        write_atomic(path, safetensors.torch.save(tensors | {"content": content}))

    def load(self, campaign: str, shard: int, content: Tensor | None = None) -> ShardWork:
        """Read one shard's work.

        Args:
            campaign: its name and identity.
            shard: its number.
            content: what its images must be, see :func:`content`; None does not look.

        Raises:
            FileNotFoundError: not finished here. ValueError: damaged, or made of other images.
        """
        path = self.path(campaign, shard)
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: all processes must see the same output folder")
        tensors = read_safetensors(path)
        found = tensors.pop("content", None)
        if found is None or set(tensors) != set(ShardWork._fields):
            raise ValueError(f"{path} holds {sorted(tensors)}, not {sorted(ShardWork._fields)}; delete it")
        if content is not None and not torch.equal(found, content):
            raise ValueError(f"{path} was made of other images than these; delete it, or give a new output folder")
        return ShardWork(**tensors)


def content(images: Tensor, labels: Tensor) -> Tensor:
    """Fingerprint (32,) uint8 of a shard's images and labels."""
    return torch.frombuffer(bytearray.fromhex(identity(images, labels)), dtype=torch.uint8)


def joined(works: list[ShardWork]) -> ShardWork:
    """Shards one after another."""
    return ShardWork(*(torch.cat(columns) for columns in zip(*works, strict=True)))
