"""Balls of perturbations as values: random start, steepest step, projection into ball and box, distance."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from blurnet.bounds import Bounds
from blurnet.strict import check_fields

Norm = Literal["linf", "l2", "l1"]
_ORDER = {"linf": math.inf, "l2": 2, "l1": 1}

#: Share of the coordinates that one l1 step moves; Tramer and Boneh 2019 (SLIDE) take 1 % to 10 %.
_L1_SHARE = 0.01

#: Bound on the rounds of a projection; a few suffice, and a result is valid after any number.
_ROUNDS = 60


@dataclass(frozen=True)
class Ball:
    """All images within ``radius`` of an image, over all its pixels and channels, and in the box [0, 1].

    Args:
        norm: "linf" (largest change of a value), "l2" (Euclidean) or "l1" (sum of changes).
        radius: in pixel units, from 0; 8/255 is the usual linf budget.

    Raises:
        ValueError: unknown norm, or a radius that is negative or not finite.
    """

    norm: Norm
    radius: Annotated[float, Bounds("a finite number from 0, in pixel units", 0)]

    def __post_init__(self) -> None:
        check_fields(self)

    def distance(self, adversarial: Tensor, images: Tensor) -> Tensor:
        """Norm of the difference of two batches (N, C, H, W), (N,)."""
        return _norm((adversarial - images).flatten(1), self.norm)

    def contains(self, adversarial: Tensor, images: Tensor, tolerance: float = 1e-5) -> Tensor:
        """Where adversarial images (N, C, H, W) lie in ball and box, (N,) bool; NaN lies nowhere.

        Args:
            adversarial: the images in question.
            images: centres of the balls.
            tolerance: for the rounding of float32, absolute in linf (and the box), relative to 1 + radius otherwise.
        """
        flat = adversarial.flatten(1)
        boxed = ((flat >= -tolerance) & (flat <= 1 + tolerance)).all(dim=1)
        slack = tolerance if self.norm == "linf" else tolerance * (1 + self.radius)
        return boxed & (self.distance(adversarial, images) <= self.radius + slack)

    def start(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Random images in ball and box, (N, C, H, W): one uniform draw from the ball, the same for every image.

        Args:
            images: centres (N, C, H, W) in [0, 1].
            generator: on the CPU, so that every device starts alike.
        """
        shape = (1, *images.shape[1:])
        if self.norm == "linf":
            drawn = torch.rand(shape, generator=generator) * 2 - 1
        elif self.norm == "l2":
            drawn = torch.randn(shape, generator=generator)
            # Uniform in a ball of d dimensions: the radius is distributed as u^(1/d).
            drawn *= torch.rand((), generator=generator) ** (1 / drawn.numel()) / drawn.norm()
        else:
            # Exponentials over the sum of one more of them are uniform in the simplex; signs make it the ball.
            heights = torch.empty(math.prod(shape) + 1).exponential_(generator=generator)
            signs = torch.randint(2, shape, generator=generator) * 2 - 1
            drawn = (heights[1:] / heights.sum()).view(shape) * signs
        return self.project(images + self.radius * drawn.to(images), images)

    def step(self, gradient: Tensor, size: float, at: Tensor | None = None) -> Tensor:
        """The step of length ``size`` that climbs most along a gradient (N, C, H, W), in this ball's norm.

        linf: the gradient's sign. l2: its direction. l1: the climb spread evenly over the 1 % largest components,
        since one coordinate a step, the steepest of all, fills up at once. A zero gradient gives a zero step.

        Args:
            gradient: of the objective that is maximised.
            size: length in this norm, in pixel units.
            at: where the step is taken, (N, C, H, W): l1 then passes over coordinates that stand at an edge of
                [0, 1] and would leave it.

        Source: Tramer and Boneh 2019 (sparse l1 descent); Croce and Hein 2021 on the box.
        """
        if self.norm == "linf":
            return gradient.sign().mul_(size)
        flat = gradient.flatten(1)
        if self.norm == "l2":
            # Scaled first: squares of very small gradients vanish in float32.
            flat = flat / _positive(flat.abs().amax(dim=1, keepdim=True))
            return (flat * (size / _positive(flat.norm(dim=1, keepdim=True)))).view_as(gradient)
        if at is not None:
            point = at.flatten(1)
            flat = torch.where((point <= 0) & (flat < 0) | (point >= 1) & (flat > 0), 0.0, flat)
        count = math.ceil(_L1_SHARE * flat.shape[1])
        chosen = flat.abs().topk(count, dim=1).indices
        step = torch.zeros_like(flat).scatter_(1, chosen, flat.gather(1, chosen).sign())
        return (step * (size / _positive(step.abs().sum(dim=1, keepdim=True)))).view_as(gradient)

    def project(self, adversarial: Tensor, images: Tensor) -> Tensor:
        """The nearest images in ball and box, (N, C, H, W); new tensors.

        linf clips. l2 and l1 solve the optimality conditions of ball and box together: ``clip(s d)`` with one scale,
        ``clip(d - t sign d)`` with one threshold an image, clipped to what the box leaves of the difference d. Both
        are approached from inside the ball, so that the result always satisfies ball and box, to within the rounding
        of float32, and is the nearest such point to about six digits.

        Source: Croce and Hein 2021 (Mind the box), section 3, for the l1 ball and the box.
        """
        if self.norm == "linf":
            difference = (adversarial - images).clamp_(-self.radius, self.radius)
            return difference.add_(images).clamp_(0, 1)
        centre = images.flatten(1)
        difference = adversarial.flatten(1) - centre
        signs, size = difference.sign(), difference.abs()
        # How far each value may move towards its side before it meets the box.
        room = torch.where(difference > 0, 1 - centre, centre)
        shrink = _shrink_l2 if self.norm == "l2" else _shrink_l1
        moved = shrink(size, room, self.radius).mul_(signs)
        return moved.add_(centre).clamp_(0, 1).view_as(adversarial)


def _norm(flat: Tensor, norm: Norm) -> Tensor:
    """Norm of each row of (N, D), (N,)."""
    lengths: Tensor = torch.linalg.vector_norm(flat, _ORDER[norm], dim=1)
    return lengths


def _positive(x: Tensor) -> Tensor:
    """x with zeros replaced by one, to divide by."""
    return torch.where(x > 0, x, torch.ones_like(x))


def _shrink_l2(size: Tensor, room: Tensor, radius: float) -> Tensor:
    """The sizes (N, D) clipped to ``room`` after one scale an image, so that their norm is at most ``radius``.

    Each round holds those that have met the box and scales the rest to what is left of the ball. The scale only
    grows, no round leaves the ball, and it is exact once no further value meets the box.
    """
    scale = (radius / _positive(size.norm(dim=1, keepdim=True))).clamp_(max=1)
    full = torch.zeros_like(size, dtype=torch.bool)
    for _ in range(_ROUNDS):
        before, full = full, size * scale >= room
        if torch.equal(before, full):
            break
        left = (radius**2 - torch.where(full, room, 0.0).square().sum(dim=1, keepdim=True)).clamp_(min=0)
        free = torch.where(full, 0.0, size).square().sum(dim=1, keepdim=True)
        scale = torch.maximum(scale, (left / _positive(free)).sqrt()).clamp_(max=1)
    return torch.minimum(size * scale, room)


def _shrink_l1(size: Tensor, room: Tensor, radius: float) -> Tensor:
    """The sizes (N, D) less one threshold an image, clipped to [0, room], so that their sum is at most ``radius``.

    Newton's rounds on the piecewise linear sum, kept between a threshold that is too low and one that is not, until
    the sum lies within a millionth below the radius. An image that is done does not move any more, so that the
    rounds of others leave it as it is.
    """
    low, high = torch.zeros_like(size[:, :1]), size.amax(dim=1, keepdim=True)
    threshold = low
    for turn in range(_ROUNDS):
        kept = (size - threshold).clamp_(min=0)
        total = torch.minimum(kept, room).sum(dim=1, keepdim=True)
        inside = total <= radius
        low, high = torch.where(inside, low, threshold), torch.where(inside, threshold, high)
        done = inside & ((total >= radius * (1 - 1e-6)) | (threshold == 0))
        if bool(done.all()):
            break
        moving = ((kept > 0) & (kept < room)).sum(dim=1, keepdim=True)
        guess = threshold + (total - radius * (1 - 5e-7)) / _positive(moving)
        # Halving where Newton has no slope or leaves the bracket, and every third round, since it may also creep.
        newton = (moving > 0) & (guess > low) & (guess < high) & (turn % 3 < 2)
        guess = torch.where(newton, guess, (low + high) / 2)
        threshold = torch.where(done, threshold, guess)
    return torch.minimum((size - high).clamp_(min=0), room)
