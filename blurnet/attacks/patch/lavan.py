"""Localized and visible adversarial noise: a patch of free noise for each image, at a fixed place."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from blurnet.attacks.base import Attack, Problem, Record
from blurnet.attacks.engine.ascent import Ascent, Look, climb
from blurnet.attacks.engine.asking import Model
from blurnet.attacks.engine.best import Keeper
from blurnet.attacks.engine.climbers import Adam, Climber, Gradient, Sign
from blurnet.attacks.engine.goal import Goal, confidence, strongest_wrong
from blurnet.attacks.engine.targets import Target
from blurnet.bounds import Positive, Share, Steps
from blurnet.masks import Place, mask_boxes, masks_of

Domain = Literal["image", "network"]
Optimizer = Literal["sign", "gradient", "adam"]

#: How each optimizer moves, by its step size.
CLIMBERS: dict[Optimizer, Callable[[float], Climber]] = {"sign": Sign, "gradient": Gradient, "adam": Adam}


@dataclass(frozen=True)
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
            normalisation and an attack returns an image, so the clipped picture is what counts, is kept and
            returned, at one more forward pass a step. A model that refuses pixels outside [0, 1] raises.
        seed: of the start, uniform noise, the same for every image, and of random targets.

    Raises:
        ValueError: bad settings, another mask shape, or a target that is out of range or the label of some image.

    Source: Karmon et al. 2018; Naseer et al. 2019, Eq. 2-3 and section 5.1. The loss is taken on logits: for one
    image it equals the difference of cross-entropies, and does not fade as that of probabilities.
    """

    target: Target
    mask: Tensor | Place = field(default=Place(), compare=False)
    steps: Steps = 1000
    lr: Positive = 0.05
    confidence: Share = 0.99
    optimizer: Optimizer = "sign"
    domain: Domain = "image"
    seed: int = 0

    def search(self, problem: Problem) -> Record:
        """See the class; an image has fallen where its kept picture's answer is the target, or any wrong class."""
        images, mask = problem.images, masks_of(self.mask, problem.images, "LaVAN mask")
        goal = problem.goal(self.target, seed=self.seed, name="LaVAN target")
        start = torch.rand(images.shape[1:], generator=torch.Generator().manual_seed(self.seed)).to(images)
        ascent, move = _Noise(self, problem.model, images, mask, goal), CLIMBERS[self.optimizer](self.lr)
        noise = start.repeat(len(images), 1, 1, 1)
        best = climb(ascent, noise, move, self.steps, Keeper(images, problem.clean))
        return problem.record(best.x, best.value > 0, mask_boxes(mask))


class _Noise(Ascent):
    """The noise of the images that are not finished."""

    def __init__(self, attack: LaVAN, model: Model, images: Tensor, mask: Tensor, goal: Goal) -> None:
        self.attack, self.model, self.images, self.mask, self.goal = attack, model, images, mask, goal

    def look(self, variable: Tensor) -> Look:
        """The difference of two logits is climbed; the lead of the goal tells better from worse."""
        labels, targets = self.goal.labels, self.goal.targets
        seen = torch.where(self.mask, variable, self.images)
        logits = self.model(seen)
        towards = strongest_wrong(logits, labels) if targets is None else targets
        pull = (logits.gather(1, towards[:, None]) - logits.gather(1, labels[:, None])).squeeze(1)
        picture, shown = self._shown(seen.detach(), logits.detach())
        lead = self.goal.objective("margin", shown)
        sure = confidence(shown, strongest_wrong(shown, labels) if targets is None else targets)
        finished = (sure >= self.attack.confidence) & (self.attack.confidence < 1)
        # A finished image keeps the noise that finished it, even where an unsure one led by more.
        done = None if self.attack.confidence == 1 else finished
        return Look(seen, pull, lead, finished, picture, done)

    def project(self, variable: Tensor) -> Tensor:
        """The noise kept in its domain."""
        return variable.clamp(0, 1) if self.attack.domain == "image" else variable

    def keep(self, rows: Tensor, images: Tensor) -> None:
        """See :meth:`Ascent.keep`."""
        self.images, self.mask, self.goal = self.images[rows], self.mask[rows], self.goal.at(rows)

    def _shown(self, seen: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The picture with clipped noise and its logits; those at hand where nothing is to be clipped."""
        if self.attack.domain == "image":
            return seen, logits
        picture = torch.where(self.mask, seen.clamp(0, 1), self.images)
        with torch.no_grad():
            return picture, self.model(picture)
