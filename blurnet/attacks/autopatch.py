"""AutoPatch: the worst of a fixed suite of localized attacks, image by image, with nothing to tune."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import Tensor

from blurnet.attacks.base import Attack, Problem, Record
from blurnet.attacks.engine.asking import Model
from blurnet.attacks.engine.targets import Rank
from blurnet.attacks.patch.lavan import LaVAN
from blurnet.attacks.patch.location import BestLocation
from blurnet.attacks.patch.low_frequency import LowFrequency
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.attacks.patch.random_search import PatchRandomSearch
from blurnet.attacks.wrappers.model import MadeOn
from blurnet.attacks.wrappers.worst_of import WorstOf
from blurnet.masks import Area, Place

BudgetName = Literal["quick", "standard", "full"]


@dataclass(frozen=True)
class Budget:
    """How much each stage of AutoPatch may spend on an image."""

    steps: int  #: gradient steps of each run
    tries: int  #: places attacked, of those that the search ranks best
    shortlist: int  #: places probed, of those with most gradient
    targets: int  #: most likely wrong classes tried one after another
    restarts: int  #: starts of the untargeted stage
    queries: int  #: of the search without gradients
    bands: tuple[float, ...]  #: DCT bands, as shares of the image's side


BUDGETS: dict[str, Budget] = {
    "quick": Budget(steps=30, tries=2, shortlist=16, targets=1, restarts=1, queries=100, bands=()),
    "standard": Budget(steps=100, tries=4, shortlist=32, targets=3, restarts=1, queries=500, bands=(0.25,)),
    "full": Budget(steps=300, tries=10, shortlist=64, targets=9, restarts=4, queries=5000, bands=(0.125, 0.25, 0.5)),
}


@dataclass(frozen=True)
class AutoPatch(Attack):
    """A worst case for patches, without parameters to tune: a sequence of attacks that differ in kind.

    Stages, each for the images that still stand: an untargeted margin ascent, with step sizes that set themselves,
    at each image's worst places; the same towards the most likely wrong classes; cross-entropy with Adam on added
    noise, as RP2 does for one image; LaVAN at the image's border; every further view of the model's gradient; noise
    of low frequency; random search, which asks for no gradient; and a patch made on an undefended net. A stage's
    result depends neither on the other stages nor on the batch, so that AutoPatch is never weaker than any of its
    stages alone. All share the threat: a square of ``area``, anywhere, or the pixels of ``mask``.

    Args:
        area: share of the image that the square covers; without meaning with a mask.
        mask: where the patch lies instead: zeros and ones (H, W), (1, 1, H, W), or (N, 1, H, W).
        budget: "quick" (a first look), "standard" (what cards quote) or "full"; see :data:`BUDGETS`.
        source: an undefended net of the same classes, for the transfer stage.
        views: callables with the model's values and another gradient, such as the surrogates of the
            transformations in it.
        seed: of all draws.

    Raises:
        ValueError: an area outside (0, 1], or an unknown budget. TypeError: a view or source that cannot be called.
    """

    area: Area = 0.05
    mask: Tensor | None = field(default=None, repr=False, compare=False)
    budget: BudgetName = "standard"
    source: Model | None = field(default=None, repr=False, compare=False)
    views: Sequence[Model] = field(default=(), repr=False, compare=False)
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for model in (*self.views, *(() if self.source is None else (self.source,))):
            if not callable(model):
                raise TypeError(f"AutoPatch: expected models, images to logits, got {type(model).__name__}")

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The names of :meth:`stages`, in their order."""
        return tuple(self.stages(side=32))

    @property
    def clean_gradients(self) -> int:
        """One for each stage at places of its own."""
        return sum(stage.clean_gradients for stage in self.stages(side=32).values())

    def stages(self, side: int) -> dict[str, Attack]:
        """Every stage as an attack of its own, by name, for images whose shorter side has ``side`` pixels."""
        budget = BUDGETS[self.budget]
        margin = PatchPGD(steps=budget.steps, seed=self.seed)
        stages: dict[str, Attack] = {"untargeted": self._placed(replace(margin, restarts=budget.restarts))}
        for k in range(1, budget.targets + 1):
            stages[f"target {k}"] = self._placed(replace(margin, target=Rank(k), wins="any"))
        stages["cross-entropy"] = self._placed(
            replace(margin, loss="cross-entropy", optimizer="adam", lr=0.1, composition="add")
        )
        stages["lavan"] = LaVAN(None, self._fixed(), steps=budget.steps, seed=self.seed)
        for number, view in enumerate(self.views, start=1):
            stages[f"view {number}"] = MadeOn(self._placed(margin), view)
        for band in budget.bands:
            low = LowFrequency(steps=budget.steps, band=max(2, round(band * side)), seed=self.seed)
            stages[f"low frequency {band:g}"] = self._placed(replace(low, composition="replace"))
        stages["random search"] = PatchRandomSearch(self.area, self.mask, steps=budget.queries, seed=self.seed)
        if self.source is not None:
            stages["transfer"] = MadeOn(self._placed(replace(margin, stop=False)), self.source, same=False)
        return stages

    def search(self, problem: Problem) -> Record:
        """See the class; the stage is the first that broke the image."""
        return WorstOf(tuple(self.stages(min(problem.images.shape[-2:])).values())).search(problem)

    def _placed(self, attack: PatchPGD | LowFrequency) -> Attack:
        """The attack under the mask, or at each image's worst places."""
        if self.mask is not None:
            return replace(attack, mask=self.mask)
        budget = BUDGETS[self.budget]
        return BestLocation(attack, self.area, shortlist=budget.shortlist, tries=budget.tries, seed=self.seed)

    def _fixed(self) -> Tensor | Place:
        return Place(self.area, "border", self.seed) if self.mask is None else self.mask
