"""What an attack wants of each image, as an object: away from the label, or to a class."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from blurnet.attacks.engine.losses import objective, succeeded

Wins = Literal["target", "any"]


@dataclass(frozen=True)
class Goal:
    """The classes that N images flee from and, with targets, the ones they are pulled to.

    Args:
        labels: true classes (N,).
        targets: classes to reach (N,); None: any wrong class.
        wins: what counts as reached where there are targets: the "target" itself, or "any" wrong class on the way.
    """

    labels: Tensor
    targets: Tensor | None = None
    wins: Wins = "target"

    def at(self, rows: Tensor) -> "Goal":
        """The goal of the images at some indices."""
        return Goal(self.labels[rows], None if self.targets is None else self.targets[rows], self.wins)

    def repeat(self, times: int) -> "Goal":
        """The goal of the whole batch ``times`` over."""
        if times == 1:
            return self
        targets = None if self.targets is None else self.targets.repeat(times)
        return Goal(self.labels.repeat(times), targets, self.wins)

    def objective(self, loss: str, logits: Tensor) -> Tensor:
        """What the attacker maximises, (N,), of logits (N, classes); see :func:`~blurnet.attacks.engine.losses`."""
        return objective(loss, logits, self.labels, self.targets)

    def reached(self, logits: Tensor) -> Tensor:
        """Where the attack has won, (N,) bool."""
        return succeeded(logits, self.labels, self._wanted)

    def altered(self, logits: Tensor) -> Tensor:
        """Where the answer is any wrong class, (N,) bool."""
        return succeeded(logits, self.labels)

    def clearly_reached(self, logits: Tensor) -> Tensor:
        """Where the attack has won by more than rounding errors, which differ between batches, (N,) bool."""
        lead = objective("margin", logits, self.labels, self._wanted) / logits.abs().amax(dim=1).clamp(min=1e-30)
        return self.reached(logits) & (lead > 1e-5)

    @property
    def _wanted(self) -> Tensor | None:
        return self.targets if self.wins == "target" else None


def strongest_wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """The most likely class besides the label, (N,)."""
    return logits.detach().scatter(1, labels[:, None], float("-inf")).argmax(dim=1)


def confidence(logits: Tensor, classes: Tensor) -> Tensor:
    """Softmax probability of a class of each image, (N,)."""
    return torch.softmax(logits, dim=1).gather(1, classes[:, None]).squeeze(1)
