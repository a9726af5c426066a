"""The adversarial patch: one picture for all images that works turned, scaled, moved and lit at random."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor

from blurnet.attacks.base import Attack, Problem, Record
from blurnet.attacks.engine.ascent import pixel_gradient
from blurnet.attacks.engine.asking import Counted, Model, Precision, at_least_float32
from blurnet.attacks.engine.goal import Goal, confidence
from blurnet.attacks.engine.losses import Loss
from blurnet.attacks.engine.progress import Progress, reporting
from blurnet.attacks.engine.targets import choose_targets
from blurnet.attacks.universal.batches import first_batches, rounds, shuffled
from blurnet.attacks.universal.patch import Patch, disc
from blurnet.attacks.universal.poses import Poses, layout, place
from blurnet.bounds import Count, Positive, Share, Steps
from blurnet.checks import check_labels, check_logits
from blurnet.masks import Area
from blurnet.modes import attacking

Shape = Literal["circle", "square", "outline"]
Optimizer = Literal["adam", "sgd", "sign"]
Ensemble = Literal["cycle", "average"]

#: So many images, the first, tell which step's patch is kept.
CHECK_IMAGES = 64


@dataclass(frozen=True)
class AdversarialPatch(Attack):
    """Gradient steps on one patch in expectation over poses, images and models.

    A step draws images and for each its own pose (``samples`` poses each), puts the patch there in one warp, and
    follows one clean gradient of the mean loss; the patch stays in [0, 1]. Every ``check_every`` steps the patch is
    tried on fixed images in fixed poses, and the best is kept: most successes, then the better loss.

    :meth:`train` gives the patch itself. Called as an attack it trains on the batch and puts the patch on each image
    at a place that follows from the image and the seed. The patch is universal, so that an image's result depends on
    its companions: the batch is the training set.

    Args:
        target: class to show; None moves images away from their labels.
        area: share of the image that the patch covers at scale 1.
        shape: "circle" (soft edge, as published), "square", or "outline", a shape of your own.
        outline: that shape, (h, w) or (1, h, w) in [0, 1]; it also sets the patch's resolution.
        size: side of the patch's own pixels; None: as many as it has in the images where it is largest.
        poses: how it may lie; rotation, scale, place and brightness.
        steps: gradient steps.
        lr: step size, in pixel units. With "sgd" 1.25 equals the notebook's 5.0, whose pixels run over [-1, 1].
        optimizer: "adam", "sgd" (as published) or "sign" (gradient signs).
        loss: see :func:`~blurnet.attacks.engine.losses.objective`; published is "cross-entropy".
        confidence: probability of the target (or, untargeted, of all wrong classes together) from which on an image
            in its pose has no part in the step, so that what is won leaves room for the rest; 1: all have, as
            published.
        samples: poses for each image and step.
        batch: images a step; a loader's batches are taken as they come.
        start: "gray" (as published) or "noise".
        ensemble: with several models, one after the other by step ("cycle", as published) or the mean of all.
        check_every: steps between two checks.
        seed: of start, batches and poses.

    Raises:
        ValueError: bad settings, or a target that is out of range or the label of some image.

    Source: Brown et al. 2017 and the notebook in cleverhans-lab/cleverhans, examples/adversarial_patch.
    """

    universal: ClassVar[bool] = True

    target: int | None = None
    area: Area = 0.1
    shape: Shape = "circle"
    outline: Tensor | None = field(default=None, repr=False, compare=False)
    size: Count | None = None
    poses: Poses = field(default_factory=Poses)
    steps: Steps = 500
    lr: Positive = 0.05
    optimizer: Optimizer = "adam"
    loss: Loss = "margin"
    confidence: Share = 0.99
    samples: Count = 1
    batch: Count = 16
    start: Literal["gray", "noise"] = "gray"
    ensemble: Ensemble = "cycle"
    check_every: Count = 25
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_outline(self.outline, self.shape, self.size)

    def search(self, problem: Problem) -> Record:
        """See the class; an image has fallen where the answer, asked once more, is wrong."""
        patch = self.trained([problem.model], problem.images, problem.labels, problem.clean.shape[1])
        return problem.record(patch.apply(problem.images, self.poses, seed=self.seed))

    def trained(self, models: Sequence[Model], images: Tensor, labels: Tensor, classes: int) -> Patch:
        """What :meth:`train` does, on images in memory that are checked already, for models under `attacking`."""
        training = _Training(self, models, images[:CHECK_IMAGES], labels[:CHECK_IMAGES], classes)
        training.check(images, labels)
        return training.solve(shuffled(images, labels, self.batch, self.seed), None)

    def train(
        self,
        models: Model | Sequence[Model],
        images: Tensor | Iterable[Sequence[Tensor]],
        labels: Tensor | None = None,
        *,
        device: torch.device | str | None = None,
        progress: bool | Progress = False,
    ) -> Patch:
        """Train the patch.

        Args:
            models: images in [0, 1] to logits; a list or tuple of them is an ensemble. While it runs, modules are in
                evaluation mode and their parameters take no gradient; both are restored.
            images: (N, 3, H, W) in [0, 1]; or a loader: batches (images, labels), all of one size, that can be gone
                through again and again.
            labels: (N,) integers, with images; None with a loader.
            device: where a batch goes; None: where it is.
            progress: True shows a bar; or a function (steps done, steps, share of the
                check images that the best patch so far moves).

        Returns:
            The best patch, on the images' device; its ``meta`` says what made it.

        Raises:
            TypeError, ValueError: no model, bad or no images, labels, logits or target; the message shows what came.
            RuntimeError: a model that gives no gradient.
        """
        nets: list[Model] = list(models) if isinstance(models, list | tuple) else [cast(Model, models)]
        if not nets:
            raise ValueError("AdversarialPatch models: none given")
        if (labels is None) == isinstance(images, Tensor):
            raise ValueError("AdversarialPatch: expected images with labels, or a loader of both without labels")
        batches = images if labels is None else [(images, labels)]
        loader = cast(Iterable[Sequence[Tensor]], batches)
        with ExitStack() as stack:
            for net in nets:
                stack.enter_context(attacking(net))
            first, answers = first_batches(loader, device, CHECK_IMAGES)
            precision, first = stack.enter_context(Precision.of(first)), at_least_float32(first)
            asked = [Counted(net, precision) for net in nets]
            classes = min(_classes(model, first[:CHECK_IMAGES]) for model in asked)
            training = _Training(self, asked, first[:CHECK_IMAGES], answers[:CHECK_IMAGES], classes)
            if labels is None:
                draws = rounds(loader, device, training.check)
            else:
                training.check(first, answers)
                draws = shuffled(first, answers, self.batch, self.seed)
            with reporting(progress, self.steps, "patch") as report:
                return training.solve(draws, report)


class _Training:
    """One training run over endless batches, with the fixed images and poses on which a patch is tried."""

    def __init__(
        self, attack: AdversarialPatch, models: Sequence[Model], images: Tensor, labels: Tensor, classes: int
    ) -> None:
        self.attack, self.models, self.images, self.labels, self.classes = attack, models, images, labels, classes
        self.check(images, labels)
        size = (images.shape[-2], images.shape[-1])
        self.mask = _mask(attack, size).to(images)
        self.frame = layout(self.mask, size, attack.area)
        self.poses = attack.poses.drawn_for(images, self.frame, attack.seed)
        self.generator = torch.Generator().manual_seed(attack.seed)

    def check(self, images: Tensor, labels: Tensor) -> None:
        """Images of the size of the others, labels within the models' classes, none of them the target."""
        if images.shape[-2:] != self.images.shape[-2:]:
            sizes = [tuple(x.shape[-2:]) for x in (self.images, images)]
            raise ValueError(
                f"AdversarialPatch images: expected one size in all batches, got {sizes[0]} and {sizes[1]}"
            )
        check_labels(labels, n=len(labels), classes=self.classes)
        zeros = labels.new_zeros(1, self.classes, dtype=torch.float32)
        choose_targets(self.attack.target, zeros, labels, name="AdversarialPatch target")

    def solve(self, batches: Iterator[tuple[Tensor, Tensor]], report: Progress | None) -> Patch:
        """The best patch of all that were checked."""
        attack = self.attack
        patch = self._start().requires_grad_()
        kind = torch.optim.Adam if attack.optimizer == "adam" else torch.optim.SGD
        optimizer = kind([patch], lr=attack.lr)
        best, score = patch.detach().clone(), (-1, -math.inf)
        for step in range(attack.steps + 1):
            if step % attack.check_every == 0 or step == attack.steps:
                now = self.score(patch.detach())
                if now > score:
                    best, score = patch.detach().clone(), now
                if report is not None:
                    report(step, attack.steps, score[0] / (len(self.models) * len(self.images)))
            if step == attack.steps:
                break
            gradient = self.gradient(patch, *next(batches), step)
            patch.grad = gradient.sign() if attack.optimizer == "sign" else gradient
            optimizer.step()
            with torch.no_grad():
                patch.clamp_(0, 1)
        checked = f"{score[0]} of {len(self.models) * len(self.images)} check images"
        meta = {"attack": repr(attack), "models": str(len(self.models)), "success": checked}
        return Patch(best, self.mask, attack.target, attack.area, meta)

    def gradient(self, patch: Tensor, images: Tensor, labels: Tensor, step: int) -> Tensor:
        """Gradient, to be descended, of the mean loss over images, poses and this step's models."""
        x, y = images.repeat(self.attack.samples, 1, 1, 1), labels.repeat(self.attack.samples)
        seen = place(x, patch, self.mask, self.attack.poses.draw(len(x), self.frame, self.generator))
        cycle = self.attack.ensemble == "cycle"
        models = [self.models[step % len(self.models)]] if cycle else self.models
        losses = [self._open(model(seen), y) for model in models]
        return pixel_gradient(-torch.stack(losses).mean(), patch, seen)

    def score(self, patch: Tensor) -> tuple[int, float]:
        """How many of the check images the patch moves, and the loss it reaches there."""
        count, value = 0, 0.0
        with torch.no_grad():
            seen = place(self.images, patch, self.mask, self.poses)
            for model in self.models:
                logits, goal = model(seen), self._goal(self.labels)
                check_logits(logits, n=len(seen))
                count += int(goal.reached(logits).sum())
                value += float(goal.objective(self.attack.loss, logits).mean())
        return count, value

    def _open(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean loss, in which what is already won with confidence counts as nothing."""
        goal = self._goal(labels)
        losses = goal.objective(self.attack.loss, logits)
        if self.attack.confidence < 1:
            chance = confidence(logits.detach(), labels if goal.targets is None else goal.targets)
            losses = losses * ((1 - chance if goal.targets is None else chance) < self.attack.confidence)
        return losses.mean()

    def _goal(self, labels: Tensor) -> Goal:
        return Goal(labels, None if self.attack.target is None else torch.full_like(labels, self.attack.target))

    def _start(self) -> Tensor:
        shape = (3, *self.mask.shape[-2:])
        if self.attack.start == "gray":
            return torch.full(shape, 0.5).to(self.mask)
        return torch.rand(shape, generator=self.generator).to(self.mask)


@torch.no_grad()
def _classes(model: Model, images: Tensor) -> int:
    """How many classes a model tells apart; its logits are checked."""
    logits = model(images)
    check_logits(logits, n=len(images))
    return logits.shape[1]


def _mask(attack: AdversarialPatch, size: tuple[int, int]) -> Tensor:
    """The patch's shape at its own resolution, (1, h, w)."""
    if attack.outline is not None:
        return attack.outline.detach().clone().float().reshape(1, *attack.outline.shape[-2:])
    share = math.pi / 4 if attack.shape == "circle" else 1.0
    side = attack.size or max(1, round(math.sqrt(attack.area * size[0] * size[1] / share) * attack.poses.scale[1]))
    return disc(side) if attack.shape == "circle" else torch.ones(1, side, side)


def _check_outline(outline: Tensor | None, shape: str, size: Count | None) -> None:
    if (outline is not None) != (shape == "outline"):
        raise ValueError(f"AdversarialPatch outline: goes with shape 'outline', and only with it; got {shape!r}")
    if outline is None:
        return
    if size is not None:
        raise ValueError(f"AdversarialPatch size: an outline sets the size itself; got {size!r}")
    flat = tuple(outline.shape[:-2]) in ((), (1,)) and outline.numel() > 0
    if not flat or not bool(((outline >= 0) & (outline <= 1)).all()) or not bool(outline.any()):
        raise ValueError(
            f"AdversarialPatch outline: expected (h, w) or (1, h, w) in [0, 1], not all zero, got {list(outline.shape)}"
        )
