"""Localized and visible adversarial noise: a patch of free noise for each image, at a fixed place."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from blurnet.attacks.base import Attack, Model
from blurnet.attacks.engine.climbers import Adam, Climber, Gradient, Sign
from blurnet.attacks.engine.losses import margin
from blurnet.attacks.engine.settings import show
from blurnet.attacks.engine.targets import Target, check_target, choose_targets
from blurnet.masks import Place, masks_of

Domain = Literal["image", "network"]
Optimizer = Literal["sign", "gradient", "adam"]

#: How each optimizer moves, by its step size.
CLIMBERS: dict[Optimizer, Callable[[float], Climber]] = {"sign": Sign, "gradient": Gradient, "adam": Adam}


@dataclass(frozen=True, repr=False)
class LaVAN(Attack):
    """LaVAN: pixels under the mask are replaced by noise that raises one logit and lowers the label's.

    Steps up ``z_target - z_label`` of ``(1 - m) x + m d`` over the noise d, each image for itself. The noise at which
    the target led the other classes by most is kept, and an image whose target reaches ``confidence`` is finished and
    leaves the batch. With 0 steps the result is the random start. Pixels outside the mask stay bit-identical, and no
    image's result depends on its batch.

    Args:
        target: class to reach, or its rule: "second" (the most likely wrong class of the clean image), "least-likely"
            (its least likely wrong class) or "random" (any wrong class, which follows from the image's pixels and
            the seed). None is untargeted: at each step the most likely wrong class.
        mask: ones where noise may go, (H, W), (1, 1, H, W), or (N, 1, H, W) for a place of its own for each image; or
            a :class:`~blurnet.masks.Place`, which draws that place, along the border or anywhere.
        steps: at most this many gradient steps; the paper that evaluates LGS allows 1000.
        lr: step size in pixel units.
        confidence: softmax probability of the target at which an image is finished; 1 never stops early.
        optimizer: "sign", steps along the gradient's sign; "gradient", along the raw gradient, as the original does;
            or "adam", each image with its own state.
        domain: "image" keeps the noise in [0, 1]. "network", the original's unclipped noise in the net's own input
            space: gradients are taken where the noise has wandered to, in or out of [0, 1]. Here the net holds its
            normalisation and an attack returns an image, so the clipped picture is what is judged, kept and
            returned, at one more forward pass a step. A model that refuses pixels outside [0, 1] raises.
        seed: of the start, uniform noise, the same for every image, and of random targets.

    Raises:
        ValueError: bad settings, another mask shape, or a target that is out of range or the label of some image.

    Source: Karmon et al. 2018; Naseer et al. 2019, Eq. 2-3 and section 5.1. The loss is taken on logits: for one
    image it equals the difference of cross-entropies, and does not fade as that of probabilities.
    """

    target: Target
    mask: Tensor | Place = field(default=Place(), compare=False)
    steps: int = 1000
    lr: float = 0.05
    confidence: float = 0.99
    optimizer: Optimizer = "sign"
    domain: Domain = "image"
    seed: int = 0

    def __post_init__(self) -> None:
        check_target(self.target, "LaVAN")
        if self.steps < 0 or not self.lr > 0:
            raise ValueError(f"LaVAN: expected steps from 0 and a positive lr, got {self.steps!r} and {self.lr!r}")
        if not 0 < self.confidence <= 1:
            raise ValueError(f"LaVAN confidence: expected a probability above 0, got {self.confidence!r}")
        if self.optimizer not in get_args(Optimizer):
            raise ValueError(f"LaVAN optimizer: expected one of {list(get_args(Optimizer))}, got {self.optimizer!r}")
        if self.domain not in get_args(Domain):
            raise ValueError(f"LaVAN domain: expected one of {list(get_args(Domain))}, got {self.domain!r}")

    def __repr__(self) -> str:
        return show(self)

    def run(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """Adversarial images (N, C, H, W); see the class."""
        mask = masks_of(self.mask, images, "LaVAN mask")
        with torch.no_grad():
            clean = model(images)
        goals = choose_targets(self.target, clean, labels, seed=self.seed, images=images, name="LaVAN target")
        start = torch.rand(images.shape[1:], generator=torch.Generator().manual_seed(self.seed)).to(images)
        best, score = start.repeat(len(images), 1, 1, 1), images.new_full((len(images),), float("-inf"))
        index, noise = torch.arange(len(images), device=images.device), best.clone()
        x, m, y, goal, move = images, mask, labels, goals, CLIMBERS[self.optimizer](self.lr)
        for step in range(self.steps + 1):
            noise = noise.detach().requires_grad_()
            logits = model(torch.where(m, noise, x))
            towards = _strongest_wrong(logits, y) if goal is None else goal
            shown = self._shown(model, logits, noise, x, m)
            finished = (_confidence(shown, y, goal) >= self.confidence) & (self.confidence < 1)
            lead = -margin(shown, y) if goal is None else margin(shown, goal)
            # A finished image keeps the noise that finished it, even where an unsure one led by more.
            better = (lead > score[index]) | finished
            best[index[better]], score[index[better]] = noise.detach()[better], lead[better]
            if step == self.steps or bool(finished.all()):
                break
            pull = (logits.gather(1, towards[:, None]) - logits.gather(1, y[:, None])).sum()
            (gradient,) = torch.autograd.grad(pull, [noise])
            noise = move.step(noise.detach(), gradient, lead, self._project)
            if bool(finished.any()):
                move.keep(~finished)
                index, noise, x, m, y = (t[~finished] for t in (index, noise, x, m, y))
                goal = None if goal is None else goal[~finished]
        return torch.where(mask, best.clamp(0, 1), images)

    def _project(self, noise: Tensor) -> Tensor:
        """The noise kept in its domain."""
        return noise.clamp(0, 1) if self.domain == "image" else noise

    def _shown(self, model: Model, logits: Tensor, noise: Tensor, images: Tensor, mask: Tensor) -> Tensor:
        """Logits of the pictures with clipped noise, detached; those at hand where nothing is to be clipped."""
        if self.domain == "image":
            return logits.detach()
        with torch.no_grad():
            return model(torch.where(mask, noise.clamp(0, 1), images))


def _strongest_wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """The most likely class besides the label, (N,)."""
    return logits.detach().scatter(1, labels[:, None], float("-inf")).argmax(dim=1)


def _confidence(logits: Tensor, labels: Tensor, goal: Tensor | None) -> Tensor:
    """Softmax probability of the goal, or of the most likely wrong class where there is none, (N,)."""
    classes = _strongest_wrong(logits, labels) if goal is None else goal
    return logits.softmax(dim=1).gather(1, classes[:, None]).squeeze(1)
