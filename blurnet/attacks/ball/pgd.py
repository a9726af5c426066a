"""Gradient attacks inside a ball: one step (FGSM) and many (PGD)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from blurnet.attacks.base import Attack, Problem, Record
from blurnet.attacks.engine.ascent import Ascent, Look, climb
from blurnet.attacks.engine.best import Best, Keeper
from blurnet.attacks.engine.climbers import Climber, Projection
from blurnet.attacks.engine.goal import Goal
from blurnet.attacks.engine.losses import Loss
from blurnet.attacks.engine.targets import Rule
from blurnet.attacks.engine.views import Transformation, views
from blurnet.balls import Ball
from blurnet.bounds import Count, Fraction, Positive, Steps


@dataclass(frozen=True)
class PGD(Attack):
    """Projected gradient ascent on a loss, from a random point of the ball, each image for itself.

    ``x <- project(x + step(g))`` with the gradient g, or with ``g <- momentum g + grad / mean |grad|``. What counts
    is the best point of all steps and restarts, success before loss, so that more steps never lose what fewer had.
    With ``stop`` an image leaves the batch at its first success: the model sees only those that still stand. Later
    restarts run on those alone, as many side by side as fit into the caller's batch size.

    Args:
        ball: the budget.
        steps: gradient steps; 0 gives the start.
        step_size: length of a step in the ball's norm, in pixel units; None is ``2.5 radius / steps`` (Madry et al.).
        momentum: weight of the earlier gradients, in [0, 1]; MI-FGSM takes 1.
        restarts: random starts; the best counts.
        loss: what is maximised, a key of :data:`~blurnet.attacks.engine.losses.LOSSES`.
        target: class to reach, or its rule on the clean image: "second", "least-likely", "random"; None is
            untargeted.
        random_start: start at a uniform draw from the ball, else at the image.
        stop: leave an image at its first success; False climbs to the last step. Under transformations or several
            looks one success may be luck, so every image climbs to the last step.
        eot_samples: looks a step, whose mean loss is climbed: for transformations, or a model that is random itself.
            Then more looks that succeed count before loss. Looks are batched: they multiply memory.
        transformations: random transformations of the whole image, drawn anew for each look, alike for all images.
        seed: of starts, transformations and "random" targets. Every image has the same draws.

    Raises:
        ValueError: bad settings, or a target that is out of range or the label of some image.

    Source: Madry et al. 2018; Dong et al. 2018, Eq. 6 (momentum; the mean in place of the sum changes no step);
    Athalye et al. 2018 (expectation over transformations).
    """

    ball: Ball
    steps: Steps = 40
    step_size: Positive | None = None
    momentum: Fraction = 0.0
    restarts: Count = 1
    loss: Loss = "cross-entropy"
    target: int | Rule | None = None
    random_start: bool = True
    stop: bool = True
    eot_samples: Count = 1
    transformations: tuple[Transformation, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.restarts > 1 and not self.random_start:
            raise ValueError("PGD restarts: every one is the same without random_start")

    def search(self, problem: Problem) -> Record:
        """See the class; an image has fallen where its goal is reached, in every look."""
        goal, images = problem.goal(self.target, seed=self.seed, name="PGD target"), problem.images
        generator = torch.Generator().manual_seed(self.seed)
        standing, done = torch.arange(len(images), device=images.device), 0
        best = Best.none(images, problem.clean)
        while done < self.restarts and len(standing):
            # Never more rows than the caller's batch; how many run side by side changes no image's result.
            count = min(self.restarts - done, len(images) // len(standing))
            done += count
            here = images if len(standing) == len(images) else images[standing]
            starts = torch.cat([self._start(here, generator) for _ in range(count)])
            found = self.climbed(problem, starts, here, goal.at(standing))
            for restart in range(count):
                one = found.take(slice(restart * len(here), (restart + 1) * len(here)))
                best.write(standing, best.take(standing).or_better(one, keep_won=self.stops))
            if self.stops:
                standing = (best.share < 1).nonzero().squeeze(1)
        return problem.record(best.x, best.share >= 1)

    def climbed(self, problem: Problem, starts: Tensor, images: Tensor, goal: Goal) -> Best:
        """The best point of each start (restarts times images, restart by restart)."""
        size = 2.5 * self.ball.radius / max(self.steps, 1) if self.step_size is None else self.step_size
        ascent = _InBall(self, problem, starts, images, goal)
        move = _Steepest(self.ball, size, self.momentum)
        return climb(ascent, starts, move, self.steps, Keeper(starts, problem.clean))

    @property
    def stops(self) -> bool:
        """Whether an image leaves at its first success."""
        return self.stop and self.eot_samples == 1 and not self.transformations

    def _start(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return self.ball.start(images, generator) if self.random_start else images


class _InBall(Ascent):
    """The points of one climb: each row leaves by itself."""

    def __init__(self, attack: PGD, problem: Problem, starts: Tensor, images: Tensor, goal: Goal) -> None:
        self.attack, self.model, self.images = attack, problem.model, len(images)
        count = len(starts) // len(images)
        self.number = torch.arange(len(starts), device=starts.device)  # restart * images + image
        self.home = images if count == 1 else images.repeat(count, 1, 1, 1)
        self.goal = goal.repeat(count)
        self.generator = torch.Generator().manual_seed(attack.seed + 1)

    def look(self, variable: Tensor) -> Look:
        """See :meth:`Ascent.look`."""
        k, goal = self.attack.eot_samples, self.goal.repeat(self.attack.eot_samples)
        seen = views(variable, k, self.attack.transformations, self.generator)
        logits = self.model(seen)
        loss = goal.objective(self.attack.loss, logits).view(k, -1).mean(dim=0)
        share = goal.reached(logits).view(k, -1).to(loss.dtype).mean(dim=0)
        done = self._done((share == 1) & ~loss.detach().isnan()) if self.attack.stops else None
        return Look(seen, loss, loss, share, variable, done)

    def project(self, variable: Tensor) -> Tensor:
        """See :meth:`Ascent.project`."""
        return self.attack.ball.project(variable, self.home)

    def keep(self, rows: Tensor, images: Tensor) -> None:
        """See :meth:`Ascent.keep`."""
        self.number, self.home, self.goal = self.number[rows], self.home[rows], self.goal.at(rows)

    def _done(self, won: Tensor) -> Tensor:
        """The rows that leave: they, or an earlier restart of their image, have won.

        A later restart's success does not end an earlier one, so that the result is that of one restart after the
        other.
        """
        restart, image = self.number // self.images, self.number % self.images
        never = torch.full_like(restart, len(restart))
        first = never.new_full((self.images,), len(restart)).scatter_reduce_(
            0, image, torch.where(won, restart, never), "amin"
        )
        return restart >= first[image]


class _Steepest(Climber):
    """The ball's steepest step along the gradient, or along ``g <- momentum g + grad / mean |grad|``."""

    def __init__(self, ball: Ball, size: float, momentum: float) -> None:
        self.ball, self.size, self.momentum = ball, size, momentum
        self.velocity: Tensor | None = None

    def step(self, variable: Tensor, gradient: Tensor, value: Tensor, project: Projection) -> Tensor:
        """See :meth:`Climber.step`."""
        if self.momentum:
            gradient = self.velocity = _accumulated(self.momentum, self.velocity, gradient)
        return project(self.ball.step(gradient, self.size, variable).add_(variable))

    def keep(self, rows: Tensor) -> None:
        """See :meth:`Climber.keep`."""
        self.velocity = None if self.velocity is None else self.velocity[rows]


def _accumulated(momentum: float, velocity: Tensor | None, gradient: Tensor) -> Tensor:
    """``momentum velocity + gradient / mean |gradient|``, the mean over each image."""
    mean = gradient.abs().flatten(1).mean(dim=1).view(-1, 1, 1, 1)
    unit = gradient / torch.where(mean > 0, mean, torch.ones_like(mean))
    return unit if velocity is None else unit.add_(velocity, alpha=momentum)


@dataclass(frozen=True)
class FGSM(Attack):
    """Fast gradient (sign) method: one steepest step of the whole radius, from the image itself.

    It is PGD with one step and no random start: where the step does not help, the image is returned as it was.

    Args:
        ball: the budget; linf is the original, the others step as :meth:`~blurnet.balls.Ball.step` says.
        loss: what is maximised, a key of :data:`~blurnet.attacks.engine.losses.LOSSES`.
        target: class to reach, or its rule on the clean image; None is untargeted.
        seed: of "random" targets; nothing else is drawn.

    Raises:
        ValueError: bad settings, or a target that is out of range or the label of some image.

    Source: Goodfellow et al. 2015.
    """

    ball: Ball
    loss: Loss = "cross-entropy"
    target: int | Rule | None = None
    seed: int = 0

    def search(self, problem: Problem) -> Record:
        """See the class; an image has fallen where its goal is reached."""
        goal = problem.goal(self.target, seed=self.seed, name="FGSM target")
        step = PGD(self.ball, 1, self.ball.radius or None, loss=self.loss, random_start=False)
        best = step.climbed(problem, problem.images, problem.images, goal)
        return problem.record(best.x, best.share >= 1)
