"""A patch found from answers alone: no gradient, no logits, only the class that the model names."""

from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from torch import Tensor

from blurnet.attacks.base import Attack, Problem, Record
from blurnet.attacks.engine.asking import Model
from blurnet.attacks.engine.moves import PatchMoves
from blurnet.bounds import Count, Share, Steps
from blurnet.masks import Area, Place

#: Below this weight the surroundings are left untouched at the next try.
_CLEAN = 0.01

#: Gray, black, white, the negative, and noise.
_BACKDROPS = 5


@dataclass(frozen=True)
class HardLabel(Attack):
    """Decision-based patch: the surroundings are spoilt until the answer is wrong, then restored step by step.

    A wrong answer says nothing about how far it is. So the search begins at an image whose pixels around the patch
    are replaced by a backdrop that makes the answer wrong, and lowers the backdrop's weight: each query changes the
    patch at random and asks whether the answer is still wrong with less of it. At weight zero the patch alone does
    it. The weight's step grows with success and shrinks with failure, each image for itself. Returned is the patch
    on the clean image, whether it succeeded or not; no image's result depends on its batch.

    Args:
        area: share of the image that the patch covers, at a place that is searched too; without meaning with a mask.
        mask: where the patch lies instead, see :class:`~blurnet.attacks.patch.random_search.PatchRandomSearch`.
        steps: queries after those that look for a backdrop (up to five).
        share: of the patch that the first recoloured squares cover.
        move_every: every so many steps a free patch moves.
        seed: of all draws; every image has the same.

    Raises:
        ValueError, TypeError: bad settings, or a mask of another shape.

    Source: the walk along the boundary from a wrong image of Brendel et al. 2018, with the patch moves of Croce et
    al. 2022 in place of Gaussian ones. The weight of the surroundings as the distance is this package's own.
    """

    area: Area = 0.05
    mask: Tensor | Place | None = field(default=None, compare=False)
    steps: Steps = 1000
    share: Share = 0.4
    move_every: Count = 5
    seed: int = 0

    @property
    def _unsaid(self) -> Collection[str]:
        return () if self.mask is None else ("area",)

    @torch.no_grad()
    def search(self, problem: Problem) -> Record:
        """See the class; an image has fallen where the patch alone makes the answer wrong."""
        images = problem.images
        moves = PatchMoves(images, self.mask, self.area, self.share, self.move_every, self.seed, "HardLabel mask")
        walk = _Walk(problem.model, problem.labels, moves, images, self.seed)
        for step in range(1, self.steps + 1):
            if not len(walk.index):
                break
            walk.step(step)
        walk.leave(torch.ones_like(walk.index, dtype=torch.bool))
        return Record(walk.found, problem.stages(walk.fooled), walk.calls, walk.boxes)


class _Walk:
    """The images still in the search, with the weight of the backdrop at which each is wrong so far."""

    def __init__(self, model: Model, labels: Tensor, moves: PatchMoves, images: Tensor, seed: int) -> None:
        self.model, self.moves, self.images, self.labels = model, moves, images, labels
        self.index = torch.arange(len(labels), device=labels.device)
        self.calls, self.fooled = torch.zeros_like(labels), torch.zeros_like(labels, dtype=torch.bool)
        self.found, self.boxes = moves.start(), moves.boxes()
        self.rate = images.new_full((len(labels),), 0.5)
        # An image that no backdrop turns has weight 0: each of its queries is a patch on the clean image.
        self.backdrop, self.weight = images.clone(), images.new_zeros(len(labels))
        self._find_backdrops(seed)

    def step(self, step: int) -> None:
        """One query of every image left."""
        patched = self.moves.propose(step)
        aim = self.weight * (1 - self.rate)
        aim = torch.where(aim < _CLEAN, 0.0, aim)
        wrong = self._wrong(patched, self.moves.inside(self.moves.proposal[1]), aim)
        self.moves.accept(wrong)
        self.weight = torch.where(wrong, aim, self.weight)
        self.rate = torch.where(wrong, self.rate * 1.5, self.rate * 0.9).clamp(0.005, 0.9)
        won = wrong & (aim == 0)
        if bool(won.any()):
            self.fooled[self.index[won]] = True
            self.leave(won)

    def leave(self, rows: Tensor) -> None:
        """Write down the patches of these rows (rows,) and forget them."""
        gone, stay = self.index[rows], ~rows
        self.found[gone], self.boxes[gone] = self.moves.start()[rows], self.moves.boxes()[rows]
        self.moves.keep(stay)
        self.index, self.images, self.labels = self.index[stay], self.images[stay], self.labels[stay]
        self.backdrop, self.weight, self.rate = self.backdrop[stay], self.weight[stay], self.rate[stay]

    def _wrong(self, patched: Tensor, inside: Tensor, weight: Tensor) -> Tensor:
        """Whether the answer is wrong with so much of the backdrop around the patch, (rows,) bool."""
        around = torch.lerp(self.images, self.backdrop, weight.view(-1, 1, 1, 1))
        self.calls[self.index] += 1
        answers: Tensor = self.model(torch.where(inside, patched, around)).argmax(dim=1)
        return answers != self.labels

    def _find_backdrops(self, seed: int) -> None:
        """For each image the first of a few backdrops behind which its answer is wrong."""
        patched, inside = self.moves.start(), self.moves.inside(self.moves.corner)
        noise = torch.rand(1, *self.images.shape[1:], generator=torch.Generator().manual_seed(seed + 1))
        missing = torch.arange(len(self.labels), device=self.labels.device)
        for number in range(_BACKDROPS):
            images = self.images[missing]
            levels = (0.5, 0.0, 1.0, 1 - images, noise.to(images))
            backdrop = torch.zeros_like(images) + levels[number]
            self.calls[missing] += 1
            answers = self.model(torch.where(inside[missing], patched[missing], backdrop)).argmax(dim=1)
            wrong = answers != self.labels[missing]
            self.backdrop[missing[wrong]], self.weight[missing[wrong]] = backdrop[wrong], 1.0
            missing = missing[~wrong]
            if not len(missing):
                break
