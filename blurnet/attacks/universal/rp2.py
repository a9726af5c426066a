"""Robust physical perturbations: one sticker noise for a whole set of victims."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.attacks.base import Attack, Problem, Record
from blurnet.attacks.engine.ascent import Ascent, Look, climb
from blurnet.attacks.engine.asking import Model
from blurnet.attacks.engine.best import Best, Keeper
from blurnet.attacks.engine.climbers import Descent
from blurnet.attacks.engine.losses import cross_entropy, margin, non_printability
from blurnet.attacks.engine.views import Transformation, moved
from blurnet.bounds import Count, NotNegative, Positive, Steps
from blurnet.checks import check_mask
from blurnet.masks import mask_boxes

Norm = Literal["l1", "l2"]
Loss = Literal["cross-entropy", "margin"]
Keep = Literal["altered", "reached", "last"]


class RP2Result(NamedTuple):
    """What one batched run gives for T targets and N victims."""

    adversarial: Tensor  #: (T, N, 3, H, W) in [0, 1]
    noise: Tensor  #: (T, 3, h, w): the noise before masking, at its own resolution
    loss: Tensor  #: (steps, T): the whole objective before each step, of the restart that was kept
    last: Tensor  #: (T, 3, h, w): the noise after the last step, whichever step's was kept


@dataclass(frozen=True)
class RP2(Attack):
    """Robust Physical Perturbations: Adam on one masked noise shared by all victims in the batch.

    Minimises ``lam |M d|_p + mean_i J(f(x_i + T_i(M d)), target)`` over the noise d, pixels clipped to [0, 1].
    Because the noise is shared, a victim's result depends on its companions: the batch is the victim set.

    Args:
        target: class to reach; None moves the victims away from their labels.
        mask: sticker mask of zeros and ones, (H, W) or (1, 1, H, W).
        steps: Adam steps over the full set. The published runs took 300 (poster) and 401 (stickers).
        lr: Adam's step, in pixel units; published runs 0.1.
        lam: weight of the norm; published 0.02.
        norm: "l2" (not squared) or "l1", over the whole masked noise.
        loss: "cross-entropy" (published) or "margin" (largest other logit; does not fade when the set is confident).
        nps: weight of the non-printability score of the stickers' colours; 0 as in the published runs.
        printable: (P, 3) printable colours in [0, 1], needed with ``nps``.
        nps_on: "noise" as in the authors' code, or "color", the stickers as they are seen (noise on the image).
        transformations: random transformations for each step (see :mod:`blurnet.attacks.engine.views`).
        transform: what they move: "noise" (the formula) or "image" (the whole picture; the ImageNet script).
        size: side of a noise of higher resolution that is averaged down to the image; None: the image's own.
        restarts: independent starts; for each target the best is kept.
        keep: which step's noise counts: the one that altered most predictions ("altered", the success rate of RP2's
            and BlurNet's tables), that reached the target most often ("reached"), or the last, as published. On a tie
            the lower loss counts. With "altered" or "reached", more steps never make a targeted attack weaker.
        clip: bound on the noise itself; published runs 20, which never binds.
        seed: of starts and transformations. Every target starts from the same noise.

    Raises:
        ValueError: bad settings, mask or target; see :meth:`against`.

    Source: Eykholt et al. 2018 and evtimovi/robust_physical_perturbations, lisa-cnn-attack.
    """

    universal: ClassVar[bool] = True

    target: int | None
    mask: Tensor = field(repr=False, compare=False)
    steps: Steps = 300
    lr: Positive = 0.1
    lam: NotNegative = 0.02
    norm: Norm = "l2"
    loss: Loss = "cross-entropy"
    nps: NotNegative = 0.0
    printable: Tensor | None = field(default=None, repr=False, compare=False)
    nps_on: Literal["noise", "color"] = "noise"
    transformations: tuple[Transformation, ...] = ()
    transform: Literal["noise", "image"] = "noise"
    size: Count | None = None
    restarts: Count = 1
    keep: Keep = "altered"
    clip: Positive = 20.0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nps > 0 and self.printable is None:
            raise ValueError("RP2 nps: needs the printable colours (P, 3), see blurnet.data.sources.rp2")
        if self.printable is not None and (self.printable.ndim != 2 or self.printable.shape[1] != 3):
            raise ValueError(f"RP2 printable: expected colours of shape (P, 3), got {tuple(self.printable.shape)}")

    def search(self, problem: Problem) -> Record:
        """See the class; a victim has fallen where the answer, asked once more, is no longer its label."""
        adversarial = self._against(problem, [self.target]).adversarial[0]
        mask = self.mask.view(1, 1, *problem.images.shape[-2:]).to(problem.images.device)
        return problem.record(adversarial, box=mask_boxes(mask).repeat(len(problem), 1))

    def against(self, model: Model, images: Tensor, labels: Tensor, targets: Sequence[int | None]) -> RP2Result:
        """All targets side by side in one batched run, each with its own noise and Adam state.

        Gives the numbers of one target at a time, in a fraction of the time. ``self.target`` is not used.

        Args:
            model: images in [0, 1] to logits.
            images: victims (N, 3, H, W) in [0, 1].
            labels: their true classes (N,).
            targets: a class for each run, or None for untargeted.

        Raises:
            ValueError: a target that equals a label or is out of range, or another mask shape.
            RuntimeError: the model gives no gradient.
        """
        with Problem.of(model, images, labels) as problem:
            result = self._against(problem, targets)
        return result._replace(adversarial=result.adversarial.to(images.dtype))

    def _against(self, problem: Problem, targets: Sequence[int | None]) -> RP2Result:
        check_mask(self.mask, problem.images[:1], "RP2 mask")
        _check_targets(targets, problem.labels, problem.clean.shape[1])
        return _best_of([_Run(self, problem, targets, start) for start in range(self.restarts)])


class _Run(Ascent):
    """Adam from one start on the objective over targets x victims: a row for each target, none ever leaves."""

    def __init__(self, attack: RP2, problem: Problem, targets: Sequence[int | None], start: int) -> None:
        self.attack, self.model, self.images, self.count = attack, problem.model, problem.images, len(targets)
        size, device = self.images.shape[-2:], self.images.device
        self.mask = attack.mask.to(self.images, copy=True).view(1, 1, *size)
        untargeted = torch.tensor([t is None for t in targets], device=device)
        goals = torch.tensor([0 if t is None else t for t in targets], device=device)
        self.goals = torch.where(untargeted[:, None], problem.labels, goals[:, None]).flatten()
        # Towards a target the loss falls with its logit, away from a label it falls as the label's logit does.
        self.sign = torch.where(untargeted, -1.0, 1.0)[:, None]
        self.clean, self.untargeted = problem.clean.argmax(dim=1), untargeted[:, None]
        self.generator = torch.Generator().manual_seed(attack.seed * 1_000_003 + start)
        self.history: list[Tensor] = []
        self.last = torch.empty(0)
        self.best = self._solve(problem.clean)

    def _solve(self, like: Tensor) -> Best:
        attack, (height, width) = self.attack, self.images.shape[-2:]
        shape = (3, attack.size or height, attack.size or width)
        first = torch.rand(shape, generator=self.generator).to(self.images)
        noise = first.expand(self.count, *shape).clone()
        keeper = Keeper(noise, like, last=attack.keep == "last")
        return climb(self, noise, Descent(torch.optim.Adam, attack.lr), attack.steps, keeper)

    def result(self) -> RP2Result:
        """The run as its caller sees it."""
        noise = self.best.x
        with torch.no_grad():
            adversarial = self.apply(self.sticker(noise)).view(self.count, -1, *self.images.shape[1:])
        history = torch.zeros(self.attack.steps, self.count, device=noise.device)
        for step, loss in enumerate(self.history[:-1]):
            history[step] = loss
        return RP2Result(adversarial, noise, history, self.last)

    def look(self, variable: Tensor) -> Look:
        """The loss of each target is descended; its successes count first."""
        sticker = self.sticker(variable)
        seen = self.apply(sticker, self.generator)
        logits = self.model(seen)
        losses = self.classification(logits).view(self.count, -1)
        gain = -((self.sign * losses).mean(dim=1) + self.regularisation(sticker))
        self.history.append(-gain.detach())
        self.last = variable.detach()
        return Look(seen, gain, gain, self.successes(logits), variable, None)

    def project(self, variable: Tensor) -> Tensor:
        """The noise within its bound."""
        return variable.clamp_(-self.attack.clip, self.attack.clip)

    def keep(self, rows: Tensor, images: Tensor) -> None:
        """Nobody leaves."""

    def successes(self, logits: Tensor) -> Tensor:
        """How many victims each target's noise moves, (T,)."""
        answers = logits.detach().argmax(dim=1).view(self.count, -1)
        altered = answers != self.clean
        if self.attack.keep == "reached":
            reached = answers == self.goals.view(self.count, -1)
            return torch.where(self.untargeted, altered, reached).sum(dim=1)
        return altered.sum(dim=1)

    def classification(self, logits: Tensor) -> Tensor:
        """The loss of each image towards its goal, (T N,)."""
        return cross_entropy(logits, self.goals) if self.attack.loss == "cross-entropy" else -margin(logits, self.goals)

    def sticker(self, noise: Tensor) -> Tensor:
        """The masked noise at the images' resolution, (T, 3, H, W)."""
        if noise.shape[-2:] != self.images.shape[-2:]:
            noise = F.interpolate(noise, self.images.shape[-2:], mode="bilinear", antialias=True, align_corners=False)
        return noise * self.mask

    def apply(self, sticker: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Every sticker on every victim, (T N, 3, H, W) in [0, 1]; transformed where a generator is given."""
        on_image = self.attack.transform == "image"
        stickers = sticker[:, None].expand(-1, len(self.images), -1, -1, -1)
        if not on_image:
            stickers = self.transformed(stickers, generator)
        seen = (self.images + stickers).clamp(0, 1)
        if on_image and generator is not None and self.attack.transformations:
            seen = self.transformed(seen, generator).clamp(0, 1)
        return seen.flatten(0, 1)

    def transformed(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Transform (T, N, ...) with one draw for each victim, the same for every target, as one alone has."""
        moves = self.attack.transformations
        if generator is None or not moves:
            return x
        return moved(x.transpose(0, 1), moves, generator).transpose(0, 1)

    def regularisation(self, sticker: Tensor) -> Tensor:
        """``lam |M d|_p`` and the non-printability score of each target, (T,)."""
        flat = sticker.flatten(1)
        order = 1 if self.attack.norm == "l1" else 2
        total: Tensor = self.attack.lam * torch.linalg.vector_norm(flat, order, dim=1)
        if self.attack.nps > 0 and self.attack.printable is not None:
            total = total + self.attack.nps * self.printability(sticker, self.attack.printable)
        return total

    def printability(self, sticker: Tensor, printable: Tensor) -> Tensor:
        """Non-printability of each target's noise, or of its colours on the average victim, (T,)."""
        if self.attack.nps_on == "noise":
            return non_printability(sticker, printable, torch.ones_like(self.mask))
        color = (self.images.mean(0, keepdim=True) + sticker).clamp(0, 1)
        return non_printability(color, printable, self.mask)


def _best_of(runs: list[_Run]) -> RP2Result:
    """For each target the start with most successes, the lower loss on a tie, the earliest when that ties too."""
    results = [run.result() for run in runs]
    most = torch.stack([run.best.share for run in runs])
    values = torch.stack([run.best.value for run in runs]).where(most == most.amax(dim=0), float("-inf"))
    best = list(enumerate(values.argmax(dim=0).tolist()))
    return RP2Result(
        torch.stack([results[b].adversarial[t] for t, b in best]),
        torch.stack([results[b].noise[t] for t, b in best]),
        torch.stack([results[b].loss[:, t] for t, b in best], dim=1),
        torch.stack([results[b].last[t] for t, b in best]),
    )


def _check_targets(targets: Sequence[int | None], labels: Tensor, classes: int) -> None:
    if not targets:
        raise ValueError("RP2 targets: none given; name a class for each run, or None for untargeted")
    for target in targets:
        if target is None:
            continue
        if not 0 <= target < classes:
            raise ValueError(f"RP2 target: expected 0 to {classes - 1}, got {target}")
        if bool((labels == target).any()):
            raise ValueError(f"RP2 target: {target} is the true class of some victims; choose another")
