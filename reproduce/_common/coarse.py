"""A perturbation of low frequency within a ball: what an untrained net draws first, it draws with the attack in it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.attacks.base import Attack, Problem, Record
from blurnet.attacks.engine.ascent import Ascent, Look, climb
from blurnet.attacks.engine.best import Keeper
from blurnet.attacks.engine.climbers import Sign
from blurnet.attacks.engine.goal import Goal
from blurnet.balls import Ball
from blurnet.bounds import Count


@dataclass(frozen=True)
class Coarse(Attack):
    """Sign ascent on the margin over a coarse grid of changes, enlarged bilinearly to the image.

    The enlarged change is a mean of its four corners, so that it keeps to the radius. All steps are climbed, and the
    largest margin counts, since the image is made to be used elsewhere.

    Args:
        radius: linf, in pixel units.
        cells: of the grid, along each side.
        steps: of the ascent, of 2.5 / steps of the radius each.
    """

    radius: float
    cells: Count = 8
    steps: Count = 100

    def search(self, problem: Problem) -> Record:
        """See the class; an image has fallen where the answer is wrong."""
        images = problem.images
        start = images.new_zeros(len(images), images.shape[1], self.cells, self.cells)
        move = Sign(2.5 / self.steps)
        best = climb(_OnGrid(self, problem), start, move, self.steps, Keeper(images, problem.clean))
        return problem.record(best.x)


class _OnGrid(Ascent):
    """Nobody leaves, so there is nothing to forget."""

    def __init__(self, attack: Coarse, problem: Problem) -> None:
        self.model, self.images, self.goal = problem.model, problem.images, Goal(problem.labels)
        self.ball = Ball("linf", attack.radius)

    def look(self, variable: Tensor) -> Look:
        """See :meth:`Ascent.look`."""
        change = F.interpolate(variable, self.images.shape[-2:], mode="bilinear", align_corners=False)
        seen = (self.images + self.ball.radius * change).clamp(0, 1)
        logits = self.model(seen)
        value = self.goal.objective("margin", logits)
        kept = self.ball.project(seen.detach(), self.images)
        return Look(seen, value, value, self.goal.reached(logits).to(value.dtype), kept, None)

    def project(self, variable: Tensor) -> Tensor:
        """See :meth:`Ascent.project`."""
        return torch.clamp(variable, -1, 1)

    def keep(self, rows: Tensor, images: Tensor) -> None:
        """See :meth:`Ascent.keep`."""
