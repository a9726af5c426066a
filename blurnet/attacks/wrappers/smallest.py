"""The smallest of several radii at which an attack fools each image."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from blurnet.attacks.base import STANDING, WRONG, Attack, Problem, Record
from blurnet.attacks.wrappers.worst_of import for_images
from blurnet.balls import Ball


@dataclass(frozen=True)
class SmallestRadius(Attack):
    """An attack in a ball at growing radii: each image keeps the first result that fools the model.

    An image that none fools keeps the result at the largest radius. This is how foolbox before version 2 ran FGSM,
    BIM and momentum FGSM. Images that are wrong before any attack are returned as they are.

    Args:
        attack: with a field ``ball``, such as ``PGD(Ball("linf", 8 / 255))``; its own radius is not used.
        radii: above 0 and growing, in the units of the ball.

    Raises:
        TypeError: an attack without a ball. ValueError: no radii, or radii that do not grow from above 0.
    """

    attack: Attack
    radii: tuple[float, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "radii", tuple(self.radii))
        if not isinstance(getattr(self.attack, "ball", None), Ball):
            raise TypeError(f"SmallestRadius attack: expected one with a ball, got {self.attack!r}")
        pairs = zip((0.0, *self.radii), self.radii, strict=False)
        if not self.radii or not all(before < after for before, after in pairs):
            raise ValueError(f"SmallestRadius radii: expected growing numbers above 0, got {self.radii}")

    @property
    def ball(self) -> Ball:
        """What the result keeps to: the ball of the largest radius."""
        return self._ball(self.radii[-1])

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The radii."""
        return tuple(f"radius {radius:g}" for radius in self.radii)

    @property
    def clean_gradients(self) -> int:
        """Those of the attack inside, at every radius."""
        return len(self.radii) * self.attack.clean_gradients

    def search(self, problem: Problem) -> Record:
        """See the class; the stage is the first radius that broke the image."""
        found, calls, box = problem.images.clone(), torch.zeros_like(problem.labels), problem.no_box()
        stage = torch.where(problem.wrong, WRONG, STANDING)
        for number, radius in enumerate(self.radii):
            index = (stage == STANDING).nonzero().squeeze(1)
            if not len(index):
                break
            record = self._at(radius, index, len(problem)).search(problem.at(index))
            found[index], box[index] = record.adversarial.detach(), record.box
            calls[index] += record.calls
            stage[index[record.stage >= 0]] = number
        return Record(found, stage, calls, box)

    def _ball(self, radius: float) -> Ball:
        return Ball(self.attack.ball.norm, radius)  # type: ignore[attr-defined]

    def _at(self, radius: float, index: Tensor, count: int) -> Attack:
        attack = replace(self.attack, ball=self._ball(radius))  # type: ignore[type-var]
        return for_images(attack, index, count)
