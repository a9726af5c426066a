"""AutoPatch: the worst of a fixed suite of localized attacks, image by image, with nothing to tune."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import Tensor

from blurnet.attacks.base import Attack, Problem, Record
from blurnet.attacks.engine.asking import Model
from blurnet.attacks.engine.settings import replace_inside
from blurnet.attacks.engine.targets import Rank
from blurnet.attacks.patch.lavan import LaVAN
from blurnet.attacks.patch.location import BestLocation
from blurnet.attacks.patch.low_frequency import LowFrequency
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.attacks.patch.race import PatchRace, Rung
from blurnet.attacks.patch.random_search import PatchRandomSearch
from blurnet.attacks.wrappers.model import MadeOn
from blurnet.attacks.wrappers.worst_of import WorstOf
from blurnet.masks import Area, Place

BudgetName = Literal["quick", "standard", "full"]


@dataclass(frozen=True)
class Budget:
    """How much each stage of AutoPatch may spend on an image."""

    race: tuple[Rung, ...]  #: over places, starts and targets; none where the first look is all
    steps: int  #: gradient steps of each run after it
    tries: int  #: places attacked then, of those that the race ranks best
    targets: int  #: most likely wrong classes tried one after another
    restarts: int  #: starts of the untargeted stage
    queries: int  #: of the search without gradients
    bands: tuple[float, ...]  #: DCT bands, as shares of the image's side


#: What breaks most undefended images at little cost: the places with most gradient, a few steps each.
FIRST_LOOK = (Rung(16, 3), Rung(2, 15))

BUDGETS: dict[str, Budget] = {
    "quick": Budget((), steps=30, tries=2, targets=1, restarts=1, queries=100, bands=()),
    "standard": Budget(
        (Rung(676, 4), Rung(96, 10), Rung(24, 40, 2), Rung(8, 100, 6, 2)),
        steps=100, tries=4, targets=3, restarts=1, queries=500, bands=(0.25,),
    ),
    "full": Budget(
        (Rung(676, 10), Rung(200, 40, 2), Rung(24, 100, 4, 3), Rung(8, 300, 8, 9)),
        steps=300, tries=10, targets=9, restarts=4, queries=5000, bands=(0.125, 0.25, 0.5),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class AutoPatch(Attack):
    """A worst case for patches, without parameters to tune: a sequence of attacks that differ in kind.

    Stages, each for the images that still stand: a first look at the places with most gradient; a race over every
    place (:class:`~blurnet.attacks.patch.race.PatchRace`), and at the places that it ranks best an untargeted margin
    ascent, with step sizes that set themselves; the same towards the most likely wrong classes; cross-entropy with
    Adam on added noise, as RP2 does for one image; LaVAN at the image's border; every further view of the model's
    gradient; noise of low frequency; random search, which asks for no gradient; and a patch made on an undefended
    net. A stage's result depends neither on the other stages nor on the batch, so that AutoPatch is never weaker than
    any of its stages alone; only what it costs does, since the race is run once for all. All share the threat: a
    square of ``area``, anywhere, or the pixels of ``mask``.

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
        """One for each race; the other stages have their places from it."""
        return 0 if self.mask is not None else 1 + bool(BUDGETS[self.budget].race)

    def stages(self, side: int) -> dict[str, Attack]:
        """Every stage as an attack of its own, by name, for images whose shorter side has ``side`` pixels."""
        budget = BUDGETS[self.budget]
        race = first = PatchRace(self.area, self.mask, self._rungs(FIRST_LOOK), seed=self.seed)
        stages: dict[str, Attack] = {"first look": first}
        if budget.race:
            stages["race"] = race = PatchRace(self.area, self.mask, self._rungs(budget.race), seed=self.seed)

        def placed(attack: Attack, tries: int = budget.tries) -> Attack:
            """The attack under the mask, or at each image's worst places."""
            if self.mask is not None:
                return replace_inside(attack, mask=self.mask)
            return BestLocation(attack, race=race, tries=tries, seed=self.seed)

        margin = PatchPGD(steps=budget.steps, seed=self.seed)
        stages["untargeted"] = placed(replace(margin, restarts=budget.restarts))
        for k in range(1, budget.targets + 1):
            stages[f"target {k}"] = placed(replace(margin, target=Rank(k), wins="any"))
        stages["cross-entropy"] = placed(
            replace(margin, loss="cross-entropy", optimizer="adam", lr=0.1, composition="add")
        )
        border = Place(self.area, "border", self.seed) if self.mask is None else self.mask
        stages["lavan"] = LaVAN(None, border, steps=budget.steps, seed=self.seed)
        for number, view in enumerate(self.views, start=1):
            stages[f"view {number}"] = placed(MadeOn(margin, view))
        for band in budget.bands:
            low = LowFrequency(steps=budget.steps, band=max(2, round(band * side)), seed=self.seed)
            stages[f"low frequency {band:g}"] = placed(replace(low, composition="replace"))
        stages["random search"] = placed(PatchRandomSearch(steps=budget.queries, seed=self.seed), tries=1)
        if self.source is not None:
            stages["transfer"] = placed(MadeOn(replace(margin, stop=False), self.source))
        return stages

    def search(self, problem: Problem) -> Record:
        """See the class; the stage is the first that broke the image."""
        return WorstOf(tuple(self.stages(min(problem.images.shape[-2:])).values())).search(problem)

    def _rungs(self, rungs: tuple[Rung, ...]) -> tuple[Rung, ...]:
        """The rounds; under a mask, which is one place, there are more starts at it."""
        if self.mask is None:
            return rungs
        return tuple(replace(rung, places=1, starts=rung.starts + min(rung.places, 16) // 2) for rung in rungs)
