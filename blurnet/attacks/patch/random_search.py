"""A patch by queries alone: random search."""

from collections.abc import Collection
from dataclasses import dataclass, field

from torch import Tensor

from blurnet.attacks.base import Attack, Problem, Record
from blurnet.attacks.engine.moves import PatchMoves
from blurnet.attacks.engine.search import random_search
from blurnet.attacks.engine.targets import Target
from blurnet.bounds import Count, Share, Steps
from blurnet.masks import Area, Place


@dataclass(frozen=True)
class PatchRandomSearch(Attack):
    """A square patch of free pixels, found by random search on the logit margin: no gradient is asked for.

    Each step recolours a square on the patch of each image, or moves a patch whose place is free, and keeps what
    does not lower the objective. More steps are never weaker, and no image's result depends on its batch.

    Args:
        area: share of the image that the patch covers, at a place that is searched too; without meaning with a mask.
        mask: where the patch lies instead: zeros and ones (H, W), (1, 1, H, W) or (N, 1, H, W), or a
            :class:`~blurnet.masks.Place`.
        steps: queries after the start and the clean image; the paper takes up to 10,000.
        target: class to reach, or its rule on the clean image (see
            :func:`~blurnet.attacks.engine.targets.choose_targets`); None is untargeted.
        share: of the patch that the first squares cover.
        move_every: every so many steps a free patch moves.
        stop: an image leaves once it is clearly fooled.
        seed: of all draws; every image has the same.

    Raises:
        ValueError, TypeError: bad settings, a mask of another shape, or a target that is out of range or a label.

    Source: Croce et al. 2022 (Sparse-RS), section 4, for image-specific patches. Read differently here: the sizes
    follow the number of steps made, not the share of the budget, so that more steps are never weaker; and a square
    lies about a random pixel of the patch, so that masks of any shape are covered.
    """

    area: Area = 0.05
    mask: Tensor | Place | None = field(default=None, compare=False)
    steps: Steps = 1000
    target: Target = None
    share: Share = 0.4
    move_every: Count = 5
    stop: bool = True
    seed: int = 0

    @property
    def _unsaid(self) -> Collection[str]:
        return () if self.mask is None else ("area",)

    def search(self, problem: Problem) -> Record:
        """See the class; an image has fallen where its goal is clearly reached."""
        moves = PatchMoves(
            problem.images, self.mask, self.area, self.share, self.move_every, self.seed, "PatchRandomSearch mask"
        )
        goal = problem.goal(self.target, seed=self.seed, name="PatchRandomSearch target")
        return random_search(problem, goal, moves, self.steps, self.stop)
