"""Finished work on disk, so that a killed evaluation goes on where it stopped."""

from pathlib import Path
from typing import NamedTuple

import safetensors.torch
from torch import Tensor

from blurnet.evaluation.campaign import Target
from blurnet.files import read_safetensors, write_atomic


class TargetWork(NamedTuple):
    """What one target leaves behind; tensors on the CPU."""

    adversarial: Tensor  #: (N, 3, H, W) in [0, 1]
    noise: Tensor  #: (3, h, w), before masking
    prediction: Tensor  #: (N,) int64, of the evaluated model on the adversarial images
    confidence: Tensor  #: (N,) its softmax probability, in [0, 1]


class Store:
    """Files ``work/<name>-<identity>/target-012.safetensors``, each written whole or not at all.

    Args:
        folder: the evaluation's output folder. With several machines it must be on a file system they share.
    """

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"

    def path(self, campaign: str, target: Target) -> Path:
        """The file of one target of a campaign (its name and identity)."""
        number = "untargeted" if target is None else f"target-{target:03d}"
        return self.work / campaign / f"{number}.safetensors"

    def has(self, campaign: str, targets: tuple[Target, ...]) -> bool:
        """Whether all these targets are finished."""
        return all(self.path(campaign, target).is_file() for target in targets)

    def save(self, campaign: str, target: Target, work: TargetWork) -> None:
        """Write one target's work."""
        path = self.path(campaign, target)
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {name: value.detach().cpu().contiguous() for name, value in work._asdict().items()}
        write_atomic(path, safetensors.torch.save(tensors))

    def load(self, campaign: str, target: Target) -> TargetWork:
        """Read one target's work.

        Raises:
            FileNotFoundError: not finished here. ValueError: the file is damaged.
        """
        path = self.path(campaign, target)
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: all processes must see the same output folder")
        tensors = read_safetensors(path)
        if set(tensors) != set(TargetWork._fields):
            raise ValueError(f"{path} holds {sorted(tensors)}, not {sorted(TargetWork._fields)}; delete it")
        return TargetWork(**tensors)
