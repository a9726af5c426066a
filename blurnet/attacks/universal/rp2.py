"""Robust physical perturbations: one sticker noise for a whole set of victims."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.attacks.base import Attack, Model
from blurnet.attacks.engine.losses import cross_entropy, margin, non_printability
from blurnet.attacks.engine.views import Transformation
from blurnet.checks import check_images, check_labels, check_logits, check_mask
from blurnet.modes import attacking

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

    target: int | None
    mask: Tensor = field(repr=False, compare=False)
    steps: int = 300
    lr: float = 0.1
    lam: float = 0.02
    norm: Norm = "l2"
    loss: Loss = "cross-entropy"
    nps: float = 0.0
    printable: Tensor | None = field(default=None, repr=False, compare=False)
    nps_on: Literal["noise", "color"] = "noise"
    transformations: tuple[Transformation, ...] = ()
    transform: Literal["noise", "image"] = "noise"
    size: int | None = None
    restarts: int = 1
    keep: Keep = "altered"
    clip: float = 20.0
    seed: int = 0

    def __post_init__(self) -> None:
        side = 1 if self.size is None else self.size
        positive = {"lr": self.lr, "clip": self.clip, "restarts": self.restarts, "size": side}
        for name, value in positive.items():
            if not value > 0:
                raise ValueError(f"RP2 {name}: expected a positive number, got {value!r}")
        for name, value in {"steps": self.steps, "lam": self.lam, "nps": self.nps}.items():
            if not value >= 0:
                raise ValueError(f"RP2 {name}: expected a number from 0, got {value!r}")
        _one_of("norm", self.norm, ("l1", "l2"))
        _one_of("loss", self.loss, ("cross-entropy", "margin"))
        _one_of("keep", self.keep, ("altered", "reached", "last"))
        _one_of("nps_on", self.nps_on, ("noise", "color"))
        _one_of("transform", self.transform, ("noise", "image"))
        if self.nps > 0 and self.printable is None:
            raise ValueError("RP2 nps: needs the printable colours (P, 3), see blurnet.data.sources.rp2")
        if self.printable is not None and (self.printable.ndim != 2 or self.printable.shape[1] != 3):
            raise ValueError(f"RP2 printable: expected colours of shape (P, 3), got {tuple(self.printable.shape)}")

    def run(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """Adversarial images (N, 3, H, W) for ``self.target``."""
        return self.against(model, images, labels, [self.target]).adversarial[0]

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
        """
        check_images(images)
        check_labels(labels, n=len(images))
        check_mask(self.mask, images[:1], "RP2 mask")
        with attacking(model):
            images, labels = images.detach().clone(), labels.to(images.device, torch.int64, copy=True)
            with torch.no_grad():
                clean = model(images)
            check_logits(clean, n=len(images))
            check_labels(labels, n=len(images), classes=clean.shape[1])
            _check_targets(targets, labels, clean.shape[1])
            problem = _Problem(self, model, images, labels, targets, clean.argmax(dim=1))
            return _best_of([problem.solve(start) for start in range(self.restarts)])


class _Problem:
    """One RP2 objective over targets x victims; ``solve`` runs Adam from one start."""

    def __init__(
        self,
        attack: RP2,
        model: Model,
        images: Tensor,
        labels: Tensor,
        targets: Sequence[int | None],
        clean: Tensor,
    ) -> None:
        self.attack, self.model, self.images, self.count = attack, model, images, len(targets)
        self.mask = attack.mask.to(images, copy=True).view(1, 1, *images.shape[-2:])
        untargeted = torch.tensor([t is None for t in targets], device=images.device)
        goals = torch.tensor([0 if t is None else t for t in targets], device=images.device)
        self.goals = torch.where(untargeted[:, None], labels, goals[:, None]).flatten()
        # Towards a target the loss falls with its logit, away from a label it falls as the label's logit does.
        self.sign = torch.where(untargeted, -1.0, 1.0)[:, None]
        self.clean, self.untargeted = clean, untargeted[:, None]

    def solve(self, start: int) -> "_Run":
        """Adam from the start numbered ``start``."""
        generator = torch.Generator().manual_seed(self.attack.seed * 1_000_003 + start)
        height, width = self.images.shape[-2:]
        shape = (3, self.attack.size or height, self.attack.size or width)
        first = torch.rand(shape, generator=generator).to(self.images)
        noise = first.expand(self.count, *shape).clone().requires_grad_()
        adam = torch.optim.Adam([noise], lr=self.attack.lr)
        history = torch.zeros(self.attack.steps, self.count, device=self.images.device)
        best = _Best(noise, last=self.attack.keep == "last")
        for step in range(self.attack.steps):
            loss, logits = self.objective(noise, generator)
            (noise.grad,) = torch.autograd.grad(loss.sum(), [noise])
            best.offer(noise, self.successes(logits), loss.detach())
            adam.step()
            with torch.no_grad():
                noise.clamp_(-self.attack.clip, self.attack.clip)
            history[step] = loss.detach()
        with torch.no_grad():
            loss, logits = self.objective(noise, generator)
            best.offer(noise, self.successes(logits), loss)
            adversarial = self.apply(self.sticker(best.noise)).view(self.count, -1, *self.images.shape[1:])
        return _Run(RP2Result(adversarial, best.noise, history, noise.detach()), best.successes, best.loss)

    def successes(self, logits: Tensor) -> Tensor:
        """How many victims each target's noise moves, (T,)."""
        answers = logits.detach().argmax(dim=1).view(self.count, -1)
        altered = answers != self.clean
        if self.attack.keep == "reached":
            reached = answers == self.goals.view(self.count, -1)
            return torch.where(self.untargeted, altered, reached).sum(dim=1)
        return altered.sum(dim=1)

    def objective(self, noise: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The loss of each target, (T,), and the logits it comes from, (T N, classes)."""
        sticker = self.sticker(noise)
        logits = self.model(self.apply(sticker, generator))
        losses = self.classification(logits).view(self.count, -1)
        return (self.sign * losses).mean(dim=1) + self.regularisation(sticker), logits

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
        moves = self.attack.transformations if generator is not None else ()
        on_image = self.attack.transform == "image"
        stickers = sticker[:, None].expand(-1, len(self.images), -1, -1, -1)
        if moves and not on_image:
            stickers = _transformed(stickers.flatten(0, 1), moves, generator, self.count).view_as(stickers)
        seen = (self.images + stickers).flatten(0, 1).clamp(0, 1)
        if moves and on_image:
            seen = _transformed(seen, moves, generator, self.count).clamp(0, 1)
        return seen

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


def _transformed(x: Tensor, moves: Sequence[Transformation], generator: torch.Generator | None, targets: int) -> Tensor:
    """Transform (T N, ...) with one draw for each victim, the same for every target, as one target alone has."""
    if generator is None:
        return x
    # Targets ride as channels: one random number a victim moves all of them.
    n = len(x) // targets
    stacked = x.reshape(targets, n, *x.shape[1:]).transpose(0, 1).flatten(1, 2)
    for move in moves:
        stacked = move(stacked, generator)
    return stacked.view(n, targets, *x.shape[1:]).transpose(0, 1).flatten(0, 1)


class _Best:
    """For each target the noise with most successes so far, the lower loss on a tie; or simply the last."""

    def __init__(self, noise: Tensor, *, last: bool) -> None:
        self.last = last
        self.noise = noise.detach().clone()
        self.successes = torch.full((len(noise),), -1, device=noise.device)
        self.loss = torch.full((len(noise),), float("inf"), device=noise.device)

    def offer(self, noise: Tensor, successes: Tensor, loss: Tensor) -> None:
        more = (successes > self.successes) | ((successes == self.successes) & (loss < self.loss))
        better = torch.ones_like(more) if self.last else more
        self.noise = torch.where(better[:, None, None, None], noise.detach(), self.noise)
        self.successes = torch.where(better, successes, self.successes)
        self.loss = torch.where(better, loss, self.loss)


class _Run(NamedTuple):
    """One start's result, with what its kept noise achieved for each target."""

    result: RP2Result
    successes: Tensor
    loss: Tensor


def _best_of(runs: list[_Run]) -> RP2Result:
    """For each target the start with most successes, the lower loss on a tie, the earliest when that ties too."""
    most = torch.stack([run.successes for run in runs])
    losses = torch.stack([run.loss for run in runs]).where(most == most.amax(dim=0), float("inf"))
    best = list(enumerate(losses.argmin(dim=0).tolist()))
    return RP2Result(
        torch.stack([runs[b].result.adversarial[t] for t, b in best]),
        torch.stack([runs[b].result.noise[t] for t, b in best]),
        torch.stack([runs[b].result.loss[:, t] for t, b in best], dim=1),
        torch.stack([runs[b].result.last[t] for t, b in best]),
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


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"RP2 {name}: expected one of {list(allowed)}, got {value!r}")
