"""A patch by queries alone: random search."""

from dataclasses import dataclass, field

from torch import Tensor

from blurnet.attacks.base import Attack, Model, prepared
from blurnet.attacks.engine.moves import PatchMoves, show_patch
from blurnet.attacks.engine.search import check_search, search_with
from blurnet.attacks.engine.targets import Target, check_target
from blurnet.attacks.record import Record
from blurnet.masks import Place


@dataclass(frozen=True, repr=False)
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

    area: float = 0.05
    mask: Tensor | Place | None = field(default=None, compare=False)
    steps: int = 1000
    target: Target = None
    share: float = 0.4
    move_every: int = 5
    stop: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.area <= 1:
            raise ValueError(f"PatchRandomSearch area: expected a share of the image in (0, 1], got {self.area!r}")
        if self.move_every < 1:
            raise ValueError(f"PatchRandomSearch move_every: expected from 1, got {self.move_every!r}")
        check_search("PatchRandomSearch", self.steps, self.share)
        check_target(self.target, "PatchRandomSearch")

    def __repr__(self) -> str:
        return show_patch(self)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The attack's name: it has one stage."""
        return ("PatchRandomSearch",)

    def run(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """Adversarial images (N, 3, H, W); see the class."""
        return self._search(model, images, labels).adversarial

    def detailed(self, model: Model, images: Tensor, labels: Tensor) -> Record:
        """Attack a batch as a call does, and say which images fell, after how many queries, and where."""
        with prepared(model, images, labels) as (x, y):
            return self._search(model, x, y)

    def _search(self, model: Model, images: Tensor, labels: Tensor) -> Record:
        moves = PatchMoves(
            images, self.mask, self.area, self.share, self.move_every, self.seed, "PatchRandomSearch mask"
        )
        return search_with(self, moves, model, images, labels)
