"""Random search on an attack's objective: propose a change, keep it where it does not hurt."""

import math
from abc import ABC, abstractmethod
from typing import Protocol

import torch
from torch import Tensor

from blurnet.attacks.base import Model
from blurnet.attacks.engine.losses import objective, succeeded
from blurnet.attacks.engine.targets import Target, choose_targets
from blurnet.attacks.record import STANDING, WRONG, Record

#: After so many steps the share of the image or patch that one change covers is halved once more.
#: Source: Andriushchenko et al. 2020, section 3.1, which gives them for 10,000 steps.
MILESTONES = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


class Proposer(ABC):
    """What the search stands at, one row an image, and how it moves; no row's moves depend on the others.

    What is drawn is the same for every row and depends on the seed and the number of steps alone.
    """

    @abstractmethod
    def start(self) -> Tensor:
        """The images at the beginning, (rows, 3, H, W) in [0, 1]."""

    @abstractmethod
    def propose(self, step: int) -> Tensor:
        """The images after a random change, (rows, 3, H, W) in [0, 1]; ``step`` counts from 1."""

    @abstractmethod
    def accept(self, rows: Tensor) -> None:
        """Go to the last proposal where ``rows`` (rows,) is true."""

    @abstractmethod
    def keep(self, rows: Tensor) -> None:
        """Forget all rows but those where ``rows`` (rows,) is true."""

    @abstractmethod
    def boxes(self) -> Tensor:
        """Where each row's patch lies, (rows, 4) int64, half-open; -1 where the whole image may change."""


def coverage(first: float, step: int) -> float:
    """Share that the change of a step covers: ``first``, halved after each of :data:`MILESTONES`.

    It does not depend on how many steps there will be, so that a longer search begins as a shorter one.
    """
    return first / 2.0 ** sum(step > milestone for milestone in MILESTONES)


def clearly_fooled(logits: Tensor, labels: Tensor, targets: Tensor | None = None) -> Tensor:
    """Where the attack has won by more than rounding errors, which differ between batches, (N,) bool."""
    lead = objective("margin", logits, labels, targets) / logits.abs().amax(dim=1).clamp(min=1e-30)
    return succeeded(logits, labels, targets) & (lead > 1e-5)


def check_search(owner: str, steps: int, share: float) -> None:
    """Require settings of a search.

    Raises:
        ValueError: a negative number of steps, or a share outside (0, 1].
    """
    if steps < 0:
        raise ValueError(f"{owner} steps: expected from 0, got {steps!r}")
    if not 0 < share <= 1:
        raise ValueError(f"{owner} share: expected a share in (0, 1], got {share!r}")


def search(
    model: Model, labels: Tensor, targets: Tensor | None, clean: Tensor, proposer: Proposer, steps: int, stop: bool
) -> Record:
    """Climb the margin by random proposals, one query a step; the images it reaches.

    Args:
        model: images to logits; only their values are used.
        labels: true classes (N,).
        targets: classes to reach (N,), or None for untargeted.
        clean: logits of the clean images (N, classes), one query.
        proposer: at its start, with N rows; used up.
        steps: proposals for each image.
        stop: an image leaves once it is clearly fooled.

    Returns:
        The record of one stage; ``calls`` counts the clean image too.
    """
    index, boxes = torch.arange(len(labels), device=labels.device), proposer.boxes()
    calls, fooled = torch.ones_like(labels), torch.zeros_like(labels, dtype=torch.bool)
    found, best = proposer.start(), clean.new_full((len(labels),), -math.inf)
    y, goals = labels, targets
    with torch.no_grad():
        for step in range(steps + 1):
            images = proposer.propose(step) if step else proposer.start()
            logits = model(images)
            calls[index] += 1
            value = objective("margin", logits, y, goals)
            # An equal value is taken too: on a plateau the search walks instead of standing.
            better = value >= best[index]
            if step:
                proposer.accept(better)
            taken = index[better]
            found[taken], best[taken], boxes[taken] = images[better], value[better], proposer.boxes()[better]
            won = clearly_fooled(logits, y, goals)
            fooled[index[won]] = True
            if stop and bool(won.any()):
                index, y, goals = index[~won], y[~won], None if goals is None else goals[~won]
                proposer.keep(~won)
            if not len(index):
                break
    stage = torch.where(fooled, 0, STANDING).where(clean.argmax(dim=1) == labels, WRONG)
    return Record(found, stage, calls, boxes)


class Searching(Protocol):
    """The settings that a search by queries takes from its attack."""

    @property
    def target(self) -> Target: ...  # noqa: D102
    @property
    def steps(self) -> int: ...  # noqa: D102
    @property
    def stop(self) -> bool: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102


def search_with(attack: Searching, proposer: Proposer, model: Model, images: Tensor, labels: Tensor) -> Record:
    """Search from the proposer's start with the attack's settings."""
    with torch.no_grad():
        clean = model(images)
    name = f"{type(attack).__name__} target"
    targets = choose_targets(attack.target, clean, labels, seed=attack.seed, images=images, name=name)
    return search(model, labels, targets, clean, proposer, attack.steps, attack.stop)
