"""Gradient attacks inside a ball: one step (FGSM) and many (PGD)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from blurnet.attacks.base import Attack, Model
from blurnet.attacks.engine.losses import LOSSES, Loss, check_loss, succeeded
from blurnet.attacks.engine.rows import Best, Rows, still_standing
from blurnet.attacks.engine.targets import Rule, check_target, choose_targets
from blurnet.attacks.engine.views import Transformation
from blurnet.balls import Ball


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
    steps: int = 40
    step_size: float | None = None
    momentum: float = 0.0
    restarts: int = 1
    loss: Loss = "cross-entropy"
    target: int | Rule | None = None
    random_start: bool = True
    stop: bool = True
    eot_samples: int = 1
    transformations: tuple[Transformation, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        _check_settings(self, "PGD")
        if self.steps < 0 or self.restarts < 1 or self.eot_samples < 1:
            got = f"{self.steps!r}, {self.restarts!r} and {self.eot_samples!r}"
            raise ValueError(f"PGD: expected steps from 0, restarts and eot_samples from 1, got {got}")
        if self.step_size is not None and not self.step_size > 0:
            raise ValueError(f"PGD step_size: expected a positive number or None, got {self.step_size!r}")
        if not 0 <= self.momentum <= 1:
            raise ValueError(f"PGD momentum: expected a number in [0, 1], got {self.momentum!r}")
        if self.restarts > 1 and not self.random_start:
            raise ValueError("PGD restarts: every one is the same without random_start")

    def run(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """Adversarial images (N, C, H, W); see the class."""
        targets = _targets(self, model, images, labels)
        generator = torch.Generator().manual_seed(self.seed)
        standing, done, best = torch.arange(len(images), device=images.device), 0, Best.none(images)
        while done < self.restarts and len(standing):
            # Never more rows than the caller's batch; how many run side by side changes no image's result.
            count = min(self.restarts - done, len(images) // len(standing))
            done += count
            here, goals = images[standing], None if targets is None else targets[standing]
            starts = torch.cat([self._start(here, generator) for _ in range(count)])
            found = self._climb(model, Rows.begin(starts, here, labels[standing], goals), len(here))
            for restart in range(count):
                one = found.take(slice(restart * len(here), (restart + 1) * len(here)))
                best.write(standing, best.take(standing).or_better(one, keep_won=self._stops))
            if self._stops:
                standing = (best.share < 1).nonzero().squeeze(1)
        return best.x

    @property
    def _stops(self) -> bool:
        return self.stop and self.eot_samples == 1 and not self.transformations

    def _start(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return self.ball.start(images, generator) if self.random_start else images

    def _climb(self, model: Model, rows: "Rows", images: int) -> "Best":
        """The best point of each row; rows are ordered by restart, then by image."""
        size = 2.5 * self.ball.radius / max(self.steps, 1) if self.step_size is None else self.step_size
        found, looks = Best.none(rows.x), torch.Generator().manual_seed(self.seed + 1)
        for step in range(self.steps + 1):
            x = rows.x.detach().requires_grad_(step < self.steps)
            share, loss = self._look(model, x, rows, looks)
            here = Best(x.detach(), share, loss.detach())
            rows = rows._replace(x=here.x, best=rows.best.or_better(here))
            keep = still_standing(rows, images) if self._stops else rows.number
            if step == self.steps or len(keep) == 0:
                break
            (gradient,) = torch.autograd.grad(loss.sum(), x)
            if len(keep) < len(x):
                found.write(rows.number, rows.best)
                rows, gradient = rows.take(keep), gradient[keep]
            if self.momentum:
                gradient = _accumulated(self.momentum, rows.velocity, gradient)
            moved = self.ball.step(gradient, size, rows.x).add_(rows.x)
            rows = rows._replace(x=self.ball.project(moved, rows.home), velocity=gradient if self.momentum else None)
        found.write(rows.number, rows.best)
        return found

    def _look(self, model: Model, x: Tensor, rows: "Rows", generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Share of looks at which each row has succeeded, and its mean loss, each (rows,)."""
        k, labels, goals = self.eot_samples, rows.labels, rows.goals
        if k > 1 or self.transformations:
            x = _looks(x, k, self.transformations, generator)
            labels, goals = labels.repeat(k), None if goals is None else goals.repeat(k)
        logits = model(x)
        loss = LOSSES[self.loss](logits, labels, goals).view(k, -1).mean(dim=0)
        return succeeded(logits, labels, goals).view(k, -1).to(loss.dtype).mean(dim=0), loss


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

    def __post_init__(self) -> None:
        _check_settings(self, "FGSM")

    def run(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """Adversarial images (N, C, H, W); see the class."""
        targets = _targets(self, model, images, labels)
        step = PGD(self.ball, 1, self.ball.radius or None, loss=self.loss, random_start=False)
        return step._climb(model, Rows.begin(images, images, labels, targets), len(images)).x


def _accumulated(momentum: float, velocity: Tensor | None, gradient: Tensor) -> Tensor:
    """``momentum velocity + gradient / mean |gradient|``, the mean over each image."""
    mean = gradient.abs().flatten(1).mean(dim=1).view(-1, 1, 1, 1)
    unit = gradient / torch.where(mean > 0, mean, torch.ones_like(mean))
    return unit if velocity is None else unit.add_(velocity, alpha=momentum)


def _looks(x: Tensor, count: int, moves: Sequence[Transformation], generator: torch.Generator) -> Tensor:
    """``count`` views of images (N, C, H, W), look by look, (count N, C, H, W); a look moves all images alike."""
    # Images ride as channels: one random number a look moves all of them.
    seen = x.reshape(1, -1, *x.shape[2:]).expand(count, -1, -1, -1)
    for move in moves:
        seen = move(seen, generator)
    seen = seen.reshape(count * len(x), *x.shape[1:])
    return seen.clamp(0, 1) if moves else seen


def _targets(attack: PGD | FGSM, model: Model, images: Tensor, labels: Tensor) -> Tensor | None:
    """The class each image is pulled to, (N,); None untargeted."""
    if attack.target is None:
        return None
    with torch.no_grad():
        logits = model(images)
    name = f"{type(attack).__name__} target"
    return choose_targets(attack.target, logits, labels, seed=attack.seed, images=images, name=name)


def _check_settings(attack: PGD | FGSM, owner: str) -> None:
    if not isinstance(attack.ball, Ball):
        raise TypeError(f"{owner} ball: expected a Ball such as Ball('linf', 8 / 255), got {attack.ball!r}")
    check_loss(attack.loss, owner)
    check_target(attack.target, owner)
