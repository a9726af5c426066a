"""What the sanity checks look at: a model, images that it answers correctly, and how an attacker sees both."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from blurnet.attacks.ball.pgd import PGD
from blurnet.attacks.ball.square import Square
from blurnet.attacks.base import Attack, Problem
from blurnet.attacks.engine.asking import Model
from blurnet.attacks.engine.losses import margin, objective
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.attacks.patch.random_search import PatchRandomSearch
from blurnet.attacks.wrappers.model import EOT, Transfer
from blurnet.balls import Ball
from blurnet.bpda import bpda
from blurnet.masks import Place, masks_of

#: At most so many images are looked at.
IMAGES = 32

#: Passes over a random model that count as one look.
SAMPLES = 4

#: The budget of attacks on the whole image, where none is given.
BALL = Ball("linf", 8 / 255)

#: Repeated passes that differ by more than this share of the largest logit are no rounding errors.
ROUNDING = 1e-3


@dataclass(frozen=True)
class Subject:
    """One model under the checks; make it with :meth:`of`, inside :func:`~blurnet.modes.attacking`.

    Args:
        model: as given.
        images: correctly answered, (N, 3, H, W) in [0, 1], N at most 32.
        labels: (N,).
        mask: where an attacker may write, (N, 1, H, W) bool; None: everywhere, within ``ball``.
        ball: the budget of attacks on the whole image.
        steps: of a gradient attack.
        seed: of every draw.
        source: another net for transfer, or None.
    """

    model: Model
    images: Tensor
    labels: Tensor
    mask: Tensor | None
    ball: Ball
    steps: int
    seed: int
    source: Model | None

    @classmethod
    def of(
        cls, model: Model, images: Tensor, labels: Tensor, *, mask: Tensor | Place | None = None,
        ball: Ball = BALL, steps: int = 30, seed: int = 0, source: Model | None = None,
    ) -> "Subject":  # fmt: skip
        """A subject on the first 32 images that the model answers correctly.

        Raises:
            ValueError, TypeError: bad input, or no image that is answered correctly.
        """
        if steps < 4:
            raise ValueError(f"sanity steps: expected at least 4, got {steps!r}")
        with Problem.of(model, images, labels) as problem:
            correct = (~problem.wrong).nonzero().squeeze(1)[:IMAGES]
            if not len(correct):
                raise ValueError(f"sanity: the model answers none of the {len(problem)} images correctly")
            x, y = problem.images, problem.labels
            where = None if mask is None else masks_of(mask, x, "sanity mask")[correct]
            return cls(model, x[correct], y[correct], where, ball, steps, seed, source)

    @property
    def n(self) -> int:
        """How many images there are."""
        return len(self.images)

    @cached_property
    def spread(self) -> float:
        """The largest difference between three passes over the same batch, as a share of the largest logit."""
        return self._passes[0] / max(self._passes[1], 1e-30)

    @cached_property
    def wobble(self) -> float:
        """How far margins of a random model may differ by chance, in logits; 0 for one that is not random."""
        return 2 * self._passes[0] if self.spread > ROUNDING else 0.0

    @cached_property
    def _passes(self) -> tuple[float, float]:
        """The largest difference between three passes, and the largest logit."""
        with torch.no_grad():
            passes = torch.stack([self.model(self.images) for _ in range(3)])
        return float((passes.amax(dim=0) - passes.amin(dim=0)).amax()), float(passes.abs().amax())

    @cached_property
    def mean(self) -> Model:
        """The model, or where it is random the mean of a few passes."""
        return self.model if self.spread <= ROUNDING else EOT(PGD(self.ball), SAMPLES).seen(self.model)

    @cached_property
    def trouble(self) -> str:
        """Why the model cannot be differentiated; empty where it can."""
        try:
            self._gradient(self.mean, "margin")
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            return str(error).splitlines()[0]
        return ""

    @cached_property
    def seen(self) -> Model:
        """The model as gradient attacks see it: with gradient zero where there is none."""
        if not self.trouble:
            return self.mean

        def blind(x: Tensor) -> Tensor:
            with torch.no_grad():
                value = self.mean(x)
            return bpda(value, 0 * x.flatten(1).sum(dim=1, keepdim=True).expand_as(value))

        return blind

    def gradient(self, loss: str) -> Tensor:
        """The largest component of the loss's gradient on each image, where an attacker may write, (N,)."""
        return self._gradient(self.seen, loss)

    def _gradient(self, model: Model, loss: str) -> Tensor:
        x = self.images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(objective(loss, model(x), self.labels).sum(), [x])
        size = gradient.abs() if self.mask is None else gradient.abs() * self.mask
        return size.flatten(1).amax(dim=1)

    def margins(self, adversarial: Tensor) -> Tensor:
        """How far the label's logit leads, (N,): negative where the answer is wrong."""
        with torch.no_grad():
            return margin(self.mean(adversarial), self.labels)

    def after(self, attack: Attack) -> Tensor:
        """The margins that an attack leaves, (N,)."""
        return self.margins(attack(self.seen, self.images, self.labels))

    def climb(self, steps: int | None = None, *, size: float | None = None, noise: bool = False) -> PGD | PatchPGD:
        """The gradient attack: from the image itself, or from noise.

        Args:
            steps: None: the subject's.
            size: of a step, as a share of the budget (of the pixel range, under a mask); None: as the attack has it.
            noise: begin at noise.
        """
        steps = self.steps if steps is None else steps
        if self.mask is None:
            length = None if size is None else size * self.ball.radius
            return PGD(self.ball, steps, length, loss="margin", random_start=noise, stop=False, seed=self.seed)
        patch = PatchPGD(self.mask, steps=steps, start="noise" if noise else "image", stop=False, seed=self.seed)
        return patch if size is None else replace(patch, optimizer="sign", lr=size)

    def half(self) -> PGD | PatchPGD:
        """The gradient attack with half the radius, or in a quarter of the mask."""
        if self.mask is None:
            return replace(self, ball=Ball(self.ball.norm, self.ball.radius / 2)).climb()
        return replace(self, mask=_core(self.mask)).climb()

    def unbounded(self, steps: int) -> PatchPGD:
        """The gradient attack that may rewrite the whole image, from the image itself."""
        whole = torch.ones_like(self.images[:1, :1])
        return PatchPGD(whole, steps=steps, start="image", seed=self.seed)

    def queries(self, steps: int) -> Attack:
        """The search without gradients."""
        if self.mask is None:
            return Square(self.ball, steps, stop=False, seed=self.seed)
        return PatchRandomSearch(mask=self.mask, steps=steps, stop=False, seed=self.seed)

    def transfer(self, source: Model) -> Attack:
        """The gradient attack on another net."""
        return Transfer(self.climb(noise=True), source)

    @cached_property
    def climbed(self) -> Tensor:
        """Margins after the gradient attack from the image, (N,)."""
        return self.after(self.climb())

    @cached_property
    def best_climbed(self) -> Tensor:
        """The smaller margins of the gradient attacks from the image and from noise, (N,)."""
        return torch.minimum(self.climbed, self.after(self.climb(noise=True)))

    def random(self, number: int) -> Tensor:
        """Images with random noise in the budget, the same for every image, (N, 3, H, W)."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number + 1)
        noise = torch.rand(1, *self.images.shape[1:], generator=generator).to(self.images)
        if self.mask is None:
            # At the edges of the budget, where noise does most.
            return self.ball.project(self.images + self.ball.step(noise - 0.5, self.ball.radius), self.images)
        return torch.where(self.mask, noise, self.images)


def _core(mask: Tensor) -> Tensor:
    """Of each mask (N, 1, H, W) the first quarter of its pixels, at least one."""
    flat = mask.flatten(1)
    quarter = (flat.sum(dim=1, keepdim=True) / 4).ceil()
    return (flat & (flat.cumsum(dim=1) <= quarter)).view_as(mask)
