"""NewtonFool: the label's probability down to chance by Newton steps along its gradient."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.attacks.base import Attack, Problem, Record
from blurnet.attacks.engine.ascent import Ascent, Look, climb
from blurnet.attacks.engine.best import Keeper
from blurnet.attacks.engine.climbers import Climber, Projection
from blurnet.attacks.engine.goal import Goal
from blurnet.bounds import Positive, Steps


@dataclass(frozen=True)
class NewtonFool(Attack):
    """A small change of the whole image, without a bound: Newton steps that lower the label's probability.

    ``x <- x - delta g / |g|^2`` with the gradient g of the label's probability p and
    ``delta = min(eta |x0| |g|, p - 1 / classes)``, norms Euclidean. An image leaves at its first wrong answer, which
    is kept; one that never falls gives the point of the lowest probability.

    foolbox 3.3.4 takes the squares of both norms in place of the norms: where the gradient is small its step leaves
    the image altogether. Hence this one.

    Args:
        steps: gradient steps.
        eta: a step's length at most, as a share of the image's length.
        seed: without meaning, nothing is drawn.

    Source: Jang et al. 2017 (Objective metrics and gradient descent algorithms for adversarial examples in machine
    learning), Algorithm 1; that it stops at the first wrong answer is foolbox's.
    """

    steps: Steps = 100
    eta: Positive = 0.01
    seed: int = 0

    def search(self, problem: Problem) -> Record:
        """See the class; an image has fallen where the answer is wrong."""
        images = problem.images
        ascent = _Probability(problem)
        move = _Newton(self.eta * images.flatten(1).norm(dim=1), problem.clean.shape[1])
        best = climb(ascent, images, move, self.steps, Keeper(images, problem.clean))
        return problem.record(best.x, best.share >= 1)


class _Probability(Ascent):
    """Climbs the negative probability of the label."""

    def __init__(self, problem: Problem) -> None:
        self.model, self.goal = problem.model, Goal(problem.labels)

    def look(self, variable: Tensor) -> Look:
        """See :meth:`Ascent.look`."""
        logits = self.model(variable)
        value = -F.softmax(logits, dim=1).gather(1, self.goal.labels[:, None]).squeeze(1)
        won = self.goal.altered(logits)
        return Look(variable, value, value, won.to(value.dtype), variable, won)

    def keep(self, rows: Tensor, images: Tensor) -> None:
        """See :meth:`Ascent.keep`."""
        self.goal = self.goal.at(rows)


class _Newton(Climber):
    """Newton's step on the probability less chance, of a length ``longest`` (rows,) at most."""

    def __init__(self, longest: Tensor, classes: int) -> None:
        self.longest, self.classes = longest, classes

    def step(self, variable: Tensor, gradient: Tensor, value: Tensor, project: Projection) -> Tensor:
        """See :meth:`Climber.step`; the image where the gradient has vanished."""
        norm: Tensor = gradient.flatten(1).norm(dim=1)
        above = (-value - 1 / self.classes).clamp(min=0).to(norm)
        seen = norm.clamp(min=torch.finfo(norm.dtype).tiny)
        length = torch.minimum(self.longest, above / seen) / seen  # delta / |g|^2, without the square: it underflows
        moved: Tensor = variable + length.view(-1, 1, 1, 1) * gradient
        return moved.clamp(0, 1)

    def keep(self, rows: Tensor) -> None:
        """See :meth:`Climber.keep`."""
        self.longest = self.longest[rows]
