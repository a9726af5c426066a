"""What the gradient attacks under a mask have in common: restarts, views, stopping, and the best picture so far."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from blurnet.attacks.base import Attack, Model, prepared
from blurnet.attacks.engine.climbers import Optimizer, check_optimizer, climber
from blurnet.attacks.engine.losses import Loss, check_loss, objective, succeeded
from blurnet.attacks.engine.settings import show
from blurnet.attacks.engine.targets import Target, check_target, choose_targets
from blurnet.attacks.engine.views import Transformation
from blurnet.attacks.record import STANDING, WRONG, Record
from blurnet.masks import Place, mask_boxes, masks_of

Start = Literal["noise", "gray", "image"]
Wins = Literal["target", "any"]

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
    steps: int = 100
    optimizer: Optimizer = "auto"
    lr: float = 0.05
    restarts: int = 1
    start: Start = "noise"
    stop: bool = True
    eot_samples: int = 1
    transformations: tuple[Transformation, ...] = ()
    penalty: PenaltyTerm | None = field(default=None, compare=False)
    weight: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_target(self.target, name)
        check_loss(self.loss, name)
        check_optimizer(self.optimizer, name)
        if self.start not in get_args(Start):
            raise ValueError(f"{name} start: expected one of {list(get_args(Start))}, got {self.start!r}")
        if self.wins not in get_args(Wins):
            raise ValueError(f"{name} wins: expected one of {list(get_args(Wins))}, got {self.wins!r}")
        for setting, low in {"steps": 0, "restarts": 1, "eot_samples": 1}.items():
            if getattr(self, setting) < low:
                raise ValueError(f"{name} {setting}: expected from {low}, got {getattr(self, setting)!r}")
        if not self.lr > 0:
            raise ValueError(f"{name} lr: expected a positive number, got {self.lr!r}")
        if not 0 <= self.weight < float("inf"):
            raise ValueError(f"{name} weight: expected a finite number from 0, got {self.weight!r}")

    def __repr__(self) -> str:
        return show(self)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The attack's name: it has one stage."""
        return (type(self).__name__,)

    def run(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """Adversarial images (N, 3, H, W); see the class."""
        return _Ascent(self, model, images, labels).solve().adversarial

    def detailed(self, model: Model, images: Tensor, labels: Tensor) -> Record:
        """Attack a batch as a call does, and say which images fell, at what cost, and where their patches lie.

        An image that the model gets wrong without a patch has stage -2, however the attack went.
        """
        with prepared(model, images, labels) as (x, y):
            return _Ascent(self, model, x, y).solve()

    @abstractmethod
    def begin(self, images: Tensor, noise: Tensor, start: Start) -> Tensor:
        """The first variables (N, ...) of one start, from images (N, 3, H, W) and uniform noise (1, 3, H, W)."""

    @abstractmethod
    def paint(self, variable: Tensor, images: Tensor) -> Tensor:
        """What goes under the mask, (N, 3, H, W) in [0, 1], differentiable in the variables (N, ...)."""

    @abstractmethod
    def project(self, variable: Tensor) -> Tensor:
        """The nearest allowed variables."""


class _Ascent:
    """One attack on one batch: R restarts of the n images still in it, as rows (R n, ...), restart by restart."""

    def __init__(self, attack: MaskedAttack, model: Model, images: Tensor, labels: Tensor) -> None:
        self.attack, self.model, self.images = attack, model, images
        self.mask = masks_of(attack.mask, images, f"{type(attack).__name__} mask")
        with torch.no_grad():
            clean = model(images)
        name = f"{type(attack).__name__} target"
        targets = choose_targets(attack.target, clean, labels, seed=attack.seed, images=images, name=name)
        self.wrong = clean.argmax(dim=1) != labels
        self.labels, self.targets = labels, targets
        self.best = _Best(images)
        self.calls = torch.ones_like(labels)
        self.generator = torch.Generator().manual_seed(attack.seed)

    def solve(self) -> Record:
        """Climb from every start; the record of the best pictures."""
        attack, rows = self.attack, self._rows()
        variable, move = self._starts(), climber(self.attack.optimizer, attack.lr, attack.steps)
        for step in range(attack.steps + 1):
            last = step == attack.steps
            with torch.set_grad_enabled(not last):
                variable = variable.detach().requires_grad_(not last)
                picture = torch.where(rows.mask, attack.paint(variable, rows.images), rows.images)
                value, fooled, clear = self._judge(picture, rows)
            self.best.offer(rows.index, picture.detach(), fooled, value.detach())
            standing = ~(clear.view(attack.restarts, -1).any(dim=0) & attack.stop)
            if last or not bool(standing.any()):
                break
            (gradient,) = torch.autograd.grad(value.sum(), [variable])
            variable = move.step(variable.detach(), gradient, value.detach(), attack.project)
            if not bool(standing.all()):
                kept = standing.repeat(attack.restarts)
                variable, rows = variable[kept], rows.keep(standing, kept)
                move.keep(kept)
        return self._record()

    def _starts(self) -> Tensor:
        """The variables of every restart, each from a seed of its own, so that more restarts only add rows."""
        starts = []
        for restart in range(self.attack.restarts):
            generator = torch.Generator().manual_seed(self.attack.seed * 1_000_003 + restart)
            noise = torch.rand(1, *self.images.shape[1:], generator=generator).to(self.images)
            starts.append(self.attack.begin(self.images, noise, "noise" if restart else self.attack.start))
        return torch.cat(starts)

    def _judge(self, picture: Tensor, rows: "_Rows") -> tuple[Tensor, Tensor, Tensor]:
        """Of each row: the objective, the share of views it fools, and whether it clearly fools all of them.

        Where a target was not reached, any wrong answer counts half: it is still more than the right one.
        """
        attack, views = self.attack, self.attack.eot_samples
        self.calls[rows.index] += attack.restarts * views
        logits = self.model(self._views(picture))
        labels = rows.labels.repeat(views)
        targets = None if rows.targets is None else rows.targets.repeat(views)
        value = objective(attack.loss, logits, labels, targets).view(views, -1).mean(dim=0)
        if attack.penalty is not None and attack.weight > 0:
            value = value - attack.weight * attack.penalty(picture)
        logits = logits.detach()
        wanted = targets if attack.wins == "target" else None
        won = succeeded(logits, labels, wanted)
        # A lead within rounding errors may be none in another batch.
        lead = objective("margin", logits, labels, wanted) / logits.abs().amax(dim=1).clamp(min=1e-30)
        clear = (won & (lead > 1e-5)).view(views, -1).all(dim=0)
        fooled = (won.to(value) + succeeded(logits, labels)) / 2
        return value, fooled.view(views, -1).mean(dim=0), clear

    def _views(self, picture: Tensor) -> Tensor:
        """Each picture as often as there are views, (views rows, 3, H, W), view by view."""
        views = self.attack.eot_samples
        if not self.attack.transformations:
            return picture if views == 1 else picture.repeat(views, 1, 1, 1)
        # Pictures ride as channels: one random number a view moves all of them.
        seen = picture.flatten(0, 1).expand(views, -1, -1, -1)
        for move in self.attack.transformations:
            seen = move(seen, self.generator)
        return seen.reshape(-1, *picture.shape[1:]).clamp(0, 1)

    def _rows(self) -> "_Rows":
        """Every image with all its restarts."""
        times, index = self.attack.restarts, torch.arange(len(self.images), device=self.images.device)
        targets = None if self.targets is None else self.targets.repeat(times)
        images, mask = self.images.repeat(times, 1, 1, 1), self.mask.repeat(times, 1, 1, 1)
        return _Rows(index, images, mask, self.labels.repeat(times), targets)

    def _record(self) -> Record:
        fooled = self.best.fooled >= 1
        stage = torch.where(fooled, 0, STANDING).where(~self.wrong, WRONG)
        return Record(self.best.picture, stage, self.calls, mask_boxes(self.mask))


@dataclass(frozen=True)
class _Rows:
    """What the R n rows are about; ``index`` (n,) says which of the batch's images are left."""

    index: Tensor
    images: Tensor
    mask: Tensor
    labels: Tensor
    targets: Tensor | None

    def keep(self, standing: Tensor, kept: Tensor) -> "_Rows":
        """Without the images that are done; ``kept`` (R n,) repeats ``standing`` (n,)."""
        targets = None if self.targets is None else self.targets[kept]
        return _Rows(self.index[standing], self.images[kept], self.mask[kept], self.labels[kept], targets)


class _Best:
    """For each image the picture that fools the largest share of views, the higher objective on a tie."""

    def __init__(self, images: Tensor) -> None:
        self.picture = images.clone()
        self.fooled = images.new_full((len(images),), -1.0)
        self.value = images.new_full((len(images),), float("-inf"))

    def offer(self, index: Tensor, picture: Tensor, fooled: Tensor, value: Tensor) -> None:
        """The pictures of the rows (R n, ...) of the images ``index`` (n,)."""
        fooled, value = fooled.view(-1, len(index)), value.view(-1, len(index))
        most = fooled.amax(dim=0)
        value, restart = value.where(fooled == most, float("-inf")).max(dim=0)
        better = (most > self.fooled[index]) | ((most == self.fooled[index]) & (value > self.value[index]))
        chosen = restart * len(index) + torch.arange(len(index), device=index.device)
        self.picture[index[better]] = picture[chosen[better]]
        self.fooled[index[better]], self.value[index[better]] = most[better], value[better]
