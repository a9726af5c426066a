"""What an attack may change, and the random noise it must beat: used by the conformance suite."""

import dataclasses
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from blurnet.attacks.base import Attack
from blurnet.balls import Ball


class Budget(ABC):
    """A threat model, as the suite checks it."""

    @abstractmethod
    def check(self, adversarial: Tensor, problem: Any) -> None:
        """Assert that adversarial images keep to it."""

    @abstractmethod
    def noise(self, problem: Any, generator: torch.Generator) -> Tensor:
        """The problem's images with the strongest random noise it allows."""

    def none(self, attack: Attack) -> Attack | None:
        """The attack with nothing to spend; None where that cannot be said."""
        return None


class UnderMask(Budget):
    """Any pixel under the problem's mask, none outside."""

    def check(self, adversarial: Tensor, problem: Any) -> None:
        outside = (problem.mask == 0).expand_as(problem.images)
        assert torch.equal(adversarial[outside], problem.images[outside])

    def noise(self, problem: Any, generator: torch.Generator) -> Tensor:
        drawn = torch.rand(problem.images.shape, generator=generator)
        return torch.where(problem.mask.bool(), drawn, problem.images)


@dataclasses.dataclass(frozen=True)
class InBall(Budget):
    """A ball about each image; the attack holds it as its field ``ball``, or derives it."""

    ball: Ball

    def check(self, adversarial: Tensor, problem: Any) -> None:
        assert self.ball.contains(adversarial, problem.images, tolerance=1e-6).all()

    def noise(self, problem: Any, generator: torch.Generator) -> Tensor:
        drawn = torch.randn(problem.images.shape, generator=generator)
        return self.ball.project(problem.images + self.ball.step(drawn, self.ball.radius), problem.images)

    def none(self, attack: Attack) -> Attack | None:
        if "ball" not in {field.name for field in dataclasses.fields(attack)}:  # type: ignore[arg-type]
            return None
        return dataclasses.replace(attack, ball=Ball(self.ball.norm, 0.0))  # type: ignore[call-arg]


@dataclasses.dataclass(frozen=True)
class InSquare(Budget):
    """Any pixel of one square an image, ``side`` pixels wide, wherever the attack puts it."""

    side: int

    def check(self, adversarial: Tensor, problem: Any) -> None:
        for changed in (adversarial != problem.images).any(dim=1):
            for line in (changed.any(dim=0), changed.any(dim=1)):
                where = line.nonzero().flatten()
                assert len(where) == 0 or int(where[-1] - where[0]) < self.side

    def noise(self, problem: Any, generator: torch.Generator) -> Tensor:
        out = problem.images.clone()
        for image in out:
            top, left = torch.randint(image.shape[-1] - self.side + 1, (2,), generator=generator).tolist()
            patch = image[:, top : top + self.side, left : left + self.side]
            patch.copy_(torch.rand(patch.shape, generator=generator))
        return out


class Anything(Budget):
    """The whole image by any distance: an attack that looks for the nearest image that fools."""

    def check(self, adversarial: Tensor, problem: Any) -> None:
        """[0, 1] is all there is to keep to."""

    def noise(self, problem: Any, generator: torch.Generator) -> Tensor:
        drawn = torch.randn(problem.images.shape, generator=generator)
        return (problem.images + 0.1 * drawn).clamp(0, 1)  # ten times what NewtonFool needs here
