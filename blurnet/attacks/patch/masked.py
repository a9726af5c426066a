"""What the gradient attacks under a mask have in common: starts, views, stopping, penalty."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from blurnet.attacks.base import Attack, Problem, Record
from blurnet.attacks.engine.ascent import Ascent, Look, climb
from blurnet.attacks.engine.asking import Model
from blurnet.attacks.engine.best import Keeper
from blurnet.attacks.engine.climbers import Optimizer, climber
from blurnet.attacks.engine.goal import Goal, Wins
from blurnet.attacks.engine.losses import Loss
from blurnet.attacks.engine.targets import Target
from blurnet.attacks.engine.views import Transformation, views
from blurnet.bounds import Count, NotNegative, Positive, Steps
from blurnet.masks import Place, mask_boxes, masks_of

Start = Literal["noise", "gray", "image"]

#: Pictures (N, 3, H, W) to what each costs the attacker, (N,), differentiable.
PenaltyTerm = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class MaskedAttack(Attack):
    """A per-image ascent on what is painted under a mask; subclasses say how a variable becomes a picture.

    Every image and restart is a row of its own in one batch. An image that is solved leaves the batch with all its
    restarts. Of all its steps and restarts the picture is kept that fools most views, the higher objective on a tie;
    a wrong answer that is not the target counts half. So more restarts never make the attack weaker, nor do more
    steps of one size. No image's result depends on its batch.

    Args:
        mask: where the attack may write: zeros and ones (H, W), (1, 1, H, W) or (N, 1, H, W), or a
            :class:`~blurnet.masks.Place`, a square for each image.
        target: class to reach, or its rule on the clean image: "second", "least-likely", "random" or a rank (see
            :func:`~blurnet.attacks.engine.targets.choose_targets`). None is untargeted.
        wins: what solves an image that has a target: the "target" itself, or "any" wrong class on the way to it.
        loss: what is climbed: "margin", "cross-entropy" or "dlr".
        steps: gradient steps; 0 gives the start.
        optimizer: "auto", sign steps with momentum that set their own size (see
            :class:`~blurnet.attacks.engine.climbers.Auto`), "sign" or "adam".
        lr: step of "sign" and "adam" in pixel units; "auto" has no use for it.
        restarts: independent starts, side by side in the batch.
        start: "noise", uniform and the same for every image; "gray"; or "image", the clean pixels. Restarts after
            the first are always noise.
        stop: an image leaves once it is solved: fooled in every view, and clearly, so that another batch's
            rounding does not undo it. False climbs on for all steps.
        eot_samples: views of each picture a step. With transformations each has a draw of its own, the same for all
            images; a model that draws at random is seen as often.
        transformations: random views of the whole picture, see :mod:`blurnet.attacks.engine.views`.
        penalty: what a picture costs the attacker, taken off the objective; see
            :class:`~blurnet.attacks.wrappers.penalty.WithPenalty`.
        weight: of the penalty.
        seed: of starts, views and random targets.

    Raises:
        ValueError, TypeError: bad settings, another mask shape, or a target that is out of range or a label.
    """

    mask: Tensor | Place = field(default=Place(), compare=False)
    target: Target = None
    wins: Wins = "target"
    loss: Loss = "margin"
    steps: Steps = 100
    optimizer: Optimizer = "auto"
    lr: Positive = 0.05
    restarts: Count = 1
    start: Start = "noise"
    stop: bool = True
    eot_samples: Count = 1
    transformations: tuple[Transformation, ...] = ()
    penalty: PenaltyTerm | None = field(default=None, compare=False)
    weight: NotNegative = 0.0
    seed: int = 0

    def search(self, problem: Problem) -> Record:
        """See the class; an image has fallen where every view reaches the goal."""
        name, images = type(self).__name__, problem.images
        mask = masks_of(self.mask, images, f"{name} mask")
        goal = problem.goal(self.target, seed=self.seed, name=f"{name} target", wins=self.wins)
        ascent = _UnderMask(self, problem.model, images, mask, goal)
        move = climber(self.optimizer, self.lr, self.steps)
        best = climb(ascent, self._starts(images), move, self.steps, Keeper(images, problem.clean))
        return Record(best.x, problem.stages(best.share >= 1), ascent.calls, mask_boxes(mask))

    def _starts(self, images: Tensor) -> Tensor:
        """The variables of every restart, each from a seed of its own, so that more restarts only add rows."""
        starts = []
        for restart in range(self.restarts):
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + restart)
            noise = torch.rand(1, *images.shape[1:], generator=generator).to(images)
            starts.append(self.begin(images, noise, "noise" if restart else self.start))
        return torch.cat(starts)

    @abstractmethod
    def begin(self, images: Tensor, noise: Tensor, start: Start) -> Tensor:
        """The first variables (N, ...) of one start, from images (N, 3, H, W) and uniform noise (1, 3, H, W)."""

    @abstractmethod
    def paint(self, variable: Tensor, images: Tensor) -> Tensor:
        """What goes under the mask, (N, 3, H, W) in [0, 1], differentiable in the variables (N, ...)."""

    @abstractmethod
    def project(self, variable: Tensor) -> Tensor:
        """The nearest allowed variables."""


class _UnderMask(Ascent):
    """One attack on one batch: R restarts of the n images still in it, as rows (R n, ...), restart by restart."""

    def __init__(self, attack: MaskedAttack, model: Model, images: Tensor, mask: Tensor, goal: Goal) -> None:
        times = attack.restarts
        self.attack, self.model = attack, model
        self.images, self.mask = images.repeat(times, 1, 1, 1), mask.repeat(times, 1, 1, 1)
        self.goal, self.calls = goal.repeat(times), torch.zeros_like(goal.labels)
        self.index = torch.arange(len(images), device=images.device)
        self.generator = torch.Generator().manual_seed(attack.seed)

    def look(self, variable: Tensor) -> Look:
        """Of each row: the objective, the share of views it fools, and whether it clearly fools all of them.

        Where a target was not reached, any wrong answer counts half: it is still more than the right one.
        """
        attack, count = self.attack, self.attack.eot_samples
        picture = torch.where(self.mask, attack.paint(variable, self.images), self.images)
        self.calls[self.index] += attack.restarts * count
        seen = views(picture, count, attack.transformations, self.generator)
        # A name of its own for what the model sees: a penalty's gradient, which is not the model's, passes it by.
        seen = seen.view_as(seen)
        logits, goal = self.model(seen), self.goal.repeat(count)
        value = goal.objective(attack.loss, logits).view(count, -1).mean(dim=0)
        if attack.penalty is not None and attack.weight > 0:
            value = value - attack.weight * attack.penalty(picture)
        logits = logits.detach()
        won = goal.reached(logits)
        share = ((won.to(value) + goal.altered(logits)) / 2).view(count, -1).mean(dim=0)
        return Look(seen, value, value, share, picture, self._done(goal.clearly_reached(logits)))

    def project(self, variable: Tensor) -> Tensor:
        """See :meth:`Ascent.project`."""
        return self.attack.project(variable)

    def keep(self, rows: Tensor, images: Tensor) -> None:
        """See :meth:`Ascent.keep`."""
        self.index, self.goal = self.index[images], self.goal.at(rows)
        self.images, self.mask = self.images[rows], self.mask[rows]

    def _done(self, clear: Tensor) -> Tensor | None:
        """The images that one of their restarts has solved, in every view."""
        if not self.attack.stop:
            return None
        rows = clear.view(self.attack.eot_samples, -1).all(dim=0)
        return rows.view(self.attack.restarts, -1).any(dim=0)
