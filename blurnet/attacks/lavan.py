"""Localized and visible adversarial noise: a patch of free noise for each image, at a fixed place."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from blurnet.attacks.base import Attack, Model
from blurnet.attacks.losses import margin
from blurnet.checks import check_mask

Rule = Literal["second", "least-likely"]


@dataclass(frozen=True)
class LaVAN(Attack):
    """LaVAN: pixels under the mask are replaced by noise that raises one logit and lowers the label's.

    Steps up ``z_target - z_label`` of ``(1 - m) x + m d`` over the noise d in [0, 1], each image for itself. The
    noise at which the target led the other classes by most is kept, and an image whose target reaches ``confidence``
    is finished and leaves the batch. With 0 steps the result is the random start. Pixels outside the mask stay
    bit-identical, and no image's result depends on its batch.

    Args:
        target: class to reach, or its rule: "second" (the most likely wrong class of the clean image) or
            "least-likely" (its least likely wrong class). None is untargeted: at each step the most likely wrong class.
        mask: ones where noise may go, (H, W), (1, 1, H, W), or (N, 1, H, W) for a place of its own for each image.
        steps: at most this many gradient steps; the paper that evaluates LGS allows 1000.
        lr: step size in pixel units.
        confidence: softmax probability of the target at which an image is finished; 1 never stops early.
        sign: step along the gradient's sign; False takes the raw gradient, as the original does.
        seed: of the start, uniform noise, the same for every image.

    Raises:
        ValueError: bad settings, another mask shape, or a target that is out of range or the label of some image.

    Source: Karmon et al. 2018; Naseer et al. 2019, Eq. 2-3 and section 5.1. The loss is taken on logits: for one
    image it equals the difference of cross-entropies, and does not fade as that of probabilities.
    """

    target: int | Rule | None
    mask: Tensor = field(repr=False, compare=False)
    steps: int = 1000
    lr: float = 0.05
    confidence: float = 0.99
    sign: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.target, str) and self.target not in ("second", "least-likely"):
            raise ValueError(f"LaVAN target: expected a class, 'second', 'least-likely' or None, got {self.target!r}")
        if self.steps < 0 or not self.lr > 0:
            raise ValueError(f"LaVAN: expected steps from 0 and a positive lr, got {self.steps!r} and {self.lr!r}")
        if not 0 < self.confidence <= 1:
            raise ValueError(f"LaVAN confidence: expected a probability above 0, got {self.confidence!r}")

    def run(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """Adversarial images (N, C, H, W); see the class."""
        check_mask(self.mask, images, "LaVAN mask")
        goals = self._goals(model, images, labels)
        mask = self.mask.to(images.device, torch.bool, copy=True).view(-1, 1, *images.shape[-2:])
        mask = mask.expand(len(images), -1, -1, -1)
        start = torch.rand(images.shape[1:], generator=torch.Generator().manual_seed(self.seed)).to(images)
        best, score = start.repeat(len(images), 1, 1, 1), images.new_full((len(images),), float("-inf"))
        index, noise = torch.arange(len(images), device=images.device), best.clone()
        x, m, y, goal = images, mask, labels, goals
        for step in range(self.steps + 1):
            noise = noise.detach().requires_grad_()
            logits = model(torch.where(m, noise, x))
            towards = _strongest_wrong(logits, y) if goal is None else goal
            finished = _probability(logits, towards) >= self.confidence
            lead = -margin(logits, y) if goal is None else margin(logits, towards)
            # A finished image keeps the noise that finished it, even where an unsure one led by more.
            better = (lead.detach() > score[index]) | finished
            best[index[better]], score[index[better]] = noise.detach()[better], lead.detach()[better]
            if step == self.steps or bool(finished.all()):
                break
            pull = (logits.gather(1, towards[:, None]) - logits.gather(1, y[:, None])).sum()
            (gradient,) = torch.autograd.grad(pull, [noise])
            noise = (noise.detach() + self.lr * (gradient.sign() if self.sign else gradient)).clamp(0, 1)
            if bool(finished.any()):
                index, noise, x, m, y = (t[~finished] for t in (index, noise, x, m, y))
                goal = None if goal is None else goal[~finished]
        return torch.where(mask, best, images)

    def _goals(self, model: Model, images: Tensor, labels: Tensor) -> Tensor | None:
        """The class each image is pulled to, (N,); None where it is chosen anew at each step."""
        if self.target is None:
            return None
        with torch.no_grad():
            logits = model(images)
        if self.target == "second":
            return _strongest_wrong(logits, labels)
        if self.target == "least-likely":
            return logits.scatter(1, labels[:, None], float("inf")).argmin(dim=1)
        target = int(self.target)
        if not 0 <= target < logits.shape[1]:
            raise ValueError(f"LaVAN target: expected 0 to {logits.shape[1] - 1}, got {target}")
        if bool((labels == target).any()):
            raise ValueError(f"LaVAN target: {target} is the true class of some images; choose another")
        return torch.full_like(labels, target)


def _strongest_wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """The most likely class besides the label, (N,)."""
    return logits.detach().scatter(1, labels[:, None], float("-inf")).argmax(dim=1)


def _probability(logits: Tensor, classes: Tensor) -> Tensor:
    """Softmax probability of one class an image, (N,)."""
    return logits.detach().softmax(dim=1).gather(1, classes[:, None]).squeeze(1)
