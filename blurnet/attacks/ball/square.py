"""The square attack: a perturbation in a ball by queries alone."""

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from blurnet.attacks.base import Attack, Problem, Record
from blurnet.attacks.engine.search import Proposer, coverage, random_search
from blurnet.attacks.engine.targets import Target
from blurnet.balls import Ball
from blurnet.bounds import Share, Steps
from blurnet.checks import one_of


@dataclass(frozen=True)
class Square(Attack):
    """Square attack: a perturbation in an linf or l2 ball, found by random search on the logit margin.

    Each step renews the perturbation in a random square, the same for every image, and keeps what does not lower
    the objective. More steps are never weaker, and no image's result depends on its batch.

    Args:
        ball: the budget, linf or l2.
        steps: queries after the start and the clean image; the paper takes up to 10,000.
        target: class to reach, or its rule on the clean image; None is untargeted.
        share: of the image that the first squares cover; AutoAttack's 0.8.
        stop: an image leaves once it is clearly fooled.
        seed: of all draws; every image has the same.

    Raises:
        ValueError, TypeError: bad settings, or a target that is out of range or a label.

    Source: Andriushchenko et al. 2020, Algorithms 1 to 3. The sizes follow the number of steps made. In l2 a spike
    is stretched to fill its half of the square.
    """

    ball: Ball
    steps: Steps = 1000
    target: Target = None
    share: Share = 0.3
    stop: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self.ball.norm, ("linf", "l2"), "Square ball")

    def search(self, problem: Problem) -> Record:
        """See the class; an image has fallen where its goal is clearly reached."""
        kind = _SquareLinf if self.ball.norm == "linf" else _SquareL2
        goal = problem.goal(self.target, seed=self.seed, name="Square target")
        squares = kind(problem.images, self.ball, self.share, self.seed)
        return random_search(problem, goal, squares, self.steps, self.stop)


class _Squares(Proposer):
    """A perturbation of the whole image, renewed in a random square."""

    def __init__(self, images: Tensor, ball: Ball, share: float, seed: int) -> None:
        self.images, self.ball, self.share = images, ball, share
        self.generator = torch.Generator().manual_seed(seed)
        self.adversarial = ball.project(images + self.first().to(images), images)
        self.proposal = self.adversarial

    @abstractmethod
    def first(self) -> Tensor:
        """The perturbation that the search begins with, (1, 3, H, W)."""

    def start(self) -> Tensor:
        """See :meth:`Proposer.start`."""
        return self.adversarial

    def accept(self, rows: Tensor) -> None:
        """See :meth:`Proposer.accept`."""
        self.adversarial = torch.where(rows.view(-1, 1, 1, 1), self.proposal, self.adversarial)

    def keep(self, rows: Tensor) -> None:
        """See :meth:`Proposer.keep`."""
        self.images, self.adversarial = self.images[rows], self.adversarial[rows]

    def boxes(self) -> Tensor:
        """See :meth:`Proposer.boxes`."""
        return torch.full((len(self.images), 4), -1, device=self.images.device)

    def signs(self, *shape: int) -> Tensor:
        """Minus or plus one, for every image alike."""
        return torch.randint(2, shape, generator=self.generator) * 2.0 - 1

    def window(self, side: int) -> tuple[slice, slice]:
        """A random square of the image."""
        tops = [int(torch.randint(size - side + 1, (), generator=self.generator)) for size in self.images.shape[-2:]]
        return slice(tops[0], tops[0] + side), slice(tops[1], tops[1] + side)

    def side(self, step: int) -> int:
        """Side in pixels of the square of a step."""
        height, width = self.images.shape[-2:]
        side = round(math.sqrt(coverage(self.share, step) * height * width))
        return min(max(side, 1), height, width)


class _SquareLinf(_Squares):
    """Every pixel of the square at plus or minus the radius, one sign a channel (Algorithm 2)."""

    def first(self) -> Tensor:
        """Vertical stripes."""
        height, width = self.images.shape[-2:]
        return (self.ball.radius * self.signs(1, 3, 1, width)).expand(1, 3, height, width)

    def propose(self, step: int) -> Tensor:
        """See :meth:`Proposer.propose`."""
        rows, columns = self.window(self.side(step))
        change = self.ball.radius * self.signs(1, 3, 1, 1).to(self.images)
        moved = self.adversarial.clone()
        moved[..., rows, columns] = self.images[..., rows, columns] + change
        self.proposal = self.ball.project(moved, self.images)
        return self.proposal


class _SquareL2(_Squares):
    """A spike on one square, paid for with what lay there, on a second square, and unused so far (Algorithm 3)."""

    def first(self) -> Tensor:
        """A spike of either sign on each of five by five tiles."""
        height, width = self.images.shape[-2:]
        tile = max(min(height, width) // 5, 1)
        whole = torch.zeros(1, 3, height, width)
        for top in range(0, height - tile + 1, tile):
            for left in range(0, width - tile + 1, tile):
                whole[..., top : top + tile, left : left + tile] = _spikes(tile) * self.signs(1, 3, 1, 1)
        return whole * (self.ball.radius / float(whole.norm()))

    def propose(self, step: int) -> Tensor:
        """See :meth:`Proposer.propose`."""
        side = min(max(self.side(step), 3), *self.images.shape[-2:])
        first, second = self.window(side), self.window(side)
        shape = _spikes(side)
        shape = shape.T if bool(self.signs(1) > 0) else shape
        change = self.adversarial - self.images
        unused = (self.ball.radius**2 - change.square().sum(dim=(1, 2, 3), keepdim=True)).clamp(min=0)
        both = torch.zeros(change.shape[-2:], dtype=torch.bool)
        both[first] = both[second] = True
        paid = (change * both.to(change)).square().sum(dim=(2, 3), keepdim=True)  # (rows, 3, 1, 1)
        there = _unit(change[..., first[0], first[1]])
        renewed = _unit(there + (shape / shape.norm() * self.signs(1, 3, 1, 1)).to(change))
        change[..., second[0], second[1]] = 0
        change[..., first[0], first[1]] = renewed * (paid + unused / 3).sqrt()
        self.proposal = self.ball.project(self.images + change, self.images)
        return self.proposal


def _unit(x: Tensor) -> Tensor:
    """Each channel (rows, 3, h, w) at length one; zeros stay."""
    length: Tensor = x.flatten(2).norm(dim=2)[..., None, None]
    return x / length.clamp(min=1e-12)


def _spikes(side: int) -> Tensor:
    """Two spikes of opposite sign, one above the other, (side, side): the shape along which the l2 attack moves."""
    upper = side // 2
    return torch.cat([_spike(upper, side), -_spike(side - upper, side)])


def _spike(height: int, width: int) -> Tensor:
    """A pyramid of steps, ``sum over k = 0..M of 1 / (n + 1 - k)^2`` with n half the height and M down to the edge."""
    n = height // 2
    y = (torch.arange(height) - (height - 1) / 2).abs()
    x = (torch.arange(width) - (width - 1) / 2).abs() * (height / width)
    depth = (n - torch.maximum(y[:, None], x).floor()).clamp(min=0).long()
    heights = torch.tensor([1 / (n + 1 - k) ** 2 for k in range(n + 1)]).cumsum(0)
    return heights[depth] if height else torch.empty(0, width)
