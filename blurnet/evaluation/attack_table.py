"""The attacks on single images that ``evaluate.py --attacks`` knows by name, and how their settings follow from a few
options. One line in :data:`ATTACKS` enrolls a new one."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from blurnet.attacks.autopatch import AutoPatch
from blurnet.attacks.ball.pgd import PGD
from blurnet.attacks.ball.square import Square
from blurnet.attacks.base import Attack
from blurnet.attacks.patch.hard_label import HardLabel
from blurnet.attacks.patch.lavan import LaVAN
from blurnet.attacks.patch.location import BestLocation
from blurnet.attacks.patch.low_frequency import LowFrequency
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.attacks.patch.random_search import PatchRandomSearch
from blurnet.attacks.universal.held_out import HeldOutPatch
from blurnet.attacks.wrappers.model import Transfer
from blurnet.balls import Ball
from blurnet.evaluation.per_image import ImageCampaign, Point
from blurnet.evaluation.threats import InBall, InMask, SquarePatch, Threat
from blurnet.masks import Place

Budget = Literal["quick", "standard", "full"]

#: Gradient steps and model calls of gradient-free search that a budget allows, where ``steps`` gives no number.
STEPS: dict[Budget, int] = {"quick": 50, "standard": 200, "full": 1000}
QUERIES: dict[Budget, int] = {"quick": 300, "standard": 2000, "full": 10000}


@dataclass(frozen=True)
class Options:
    """What all attacks of one evaluation share.

    Args:
        area: share of the image that a square patch, free to be placed, covers; None where there is a mask.
        mask: (1, 1, H, W), the only place an attack may write to; None where there is an area.
        mask_name: how reports call the mask.
        budget: how hard to try.
        steps: gradient steps (queries, of gradient-free attacks); None: by the budget.
        eps: radius of the linf ball for attacks on the whole image, in pixel units.
        restarts: independent starts, of attacks that have such.
        seed: of every attack.
        source: another model, better an undefended one, for transfer; used by attacks that know how.
        source_name: how reports call it.
        held_out: images (M, 3, H, W) and labels (M,) that are not attacked, on which the universal patch is made.
        held_out_name: how reports call them.
        views: other callables with the model's values and another gradient, used by attacks that know how.

    Raises:
        ValueError: neither or both of area and mask, or a number out of range.
    """

    area: float | None = 0.05
    mask: Tensor | None = field(default=None, repr=False, compare=False)
    mask_name: str = ""
    budget: Budget = "standard"
    steps: int | None = None
    eps: float = 8 / 255
    restarts: int = 1
    seed: int = 0
    source: nn.Module | None = field(default=None, repr=False)
    source_name: str = ""
    held_out: tuple[Tensor, Tensor] | None = field(default=None, repr=False, compare=False)
    held_out_name: str = ""
    views: tuple[nn.Module, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if (self.area is None) == (self.mask is None):
            raise ValueError("give an area or a mask, one of them")
        if self.budget not in STEPS:
            raise ValueError(f"budget: expected one of {', '.join(STEPS)}, got {self.budget!r}")
        if not 0 < self.eps <= 1:
            raise ValueError(f"eps: expected a radius above 0 and at most 1, such as 8/255, got {self.eps!r}")
        if self.restarts < 1 or (self.steps is not None and self.steps < 1):
            raise ValueError(f"expected restarts and steps from 1, got {self.restarts!r} and {self.steps!r}")

    @property
    def gradient_steps(self) -> int:
        """Steps of the gradient attacks."""
        return STEPS[self.budget] if self.steps is None else self.steps

    @property
    def queries(self) -> int:
        """Model calls of the gradient-free attacks."""
        return QUERIES[self.budget] if self.steps is None else self.steps

    @property
    def ball(self) -> Ball:
        """What attacks on the whole image may change."""
        return Ball("linf", self.eps)

    @property
    def patch(self) -> Threat:
        """What attacks with a patch may change."""
        if self.area is not None:
            return SquarePatch(self.area)
        if self.mask is None:
            raise ValueError("neither an area nor a mask")
        return InMask(self.mask_name, self.mask)

    def where(self) -> Tensor | Place:
        """The mask, or a random place on the border of each image, as in the protocol of LGS's paper."""
        return self.mask if self.area is None and self.mask is not None else Place(self.area or 0, "border", self.seed)

    def free_or_masked(self) -> dict[str, Any]:
        """The arguments of attacks that take an area or a mask."""
        return {"mask": self.mask} if self.area is None else {"area": self.area}


class Entry(NamedTuple):
    """How an attack is made."""

    make: Callable[[Options], Attack]
    text: str  #: for --help
    whole: bool = False  #: attacks the whole image within eps, not a patch
    steps: Callable[[Options], int] | None = None  #: its number of steps, where they can be varied
    blind: bool = False  #: takes no gradient of the evaluated model


def _autopatch(o: Options) -> Attack:
    return AutoPatch(**o.free_or_masked(), budget=o.budget, source=o.source, views=o.views, seed=o.seed)


def _lavan(o: Options) -> Attack:
    return LaVAN(target=None, mask=o.where(), steps=o.gradient_steps, seed=o.seed)


def _patch_pgd(o: Options) -> Attack:
    attack = PatchPGD(mask=o.where(), steps=o.gradient_steps, restarts=o.restarts, seed=o.seed)
    return attack if o.area is None else BestLocation(attack, area=o.area, shortlist=10, tries=2, seed=o.seed)


def _transfer(o: Options) -> Attack:
    if o.source is None:
        raise ValueError("transfer: name the model that the attack is made on (--transfer-from)")
    attack: Attack = PatchPGD(mask=o.where(), steps=o.gradient_steps, restarts=o.restarts, stop=False, seed=o.seed)
    attack = attack if o.area is None else BestLocation(attack, area=o.area, shortlist=10, seed=o.seed)
    return Transfer(attack, o.source, o.source_name)


def _universal_patch(o: Options) -> Attack:
    if o.area is None:
        raise ValueError("universal-patch: needs a patch that is free to be placed, not a mask")
    if o.held_out is None:
        raise ValueError("universal-patch: name data with --data; the patch is made on its val split")
    return HeldOutPatch(*o.held_out, o.area, steps=o.gradient_steps, origin=o.held_out_name, seed=o.seed)


def _low_frequency(o: Options) -> Attack:
    attack = LowFrequency(mask=o.where(), steps=o.gradient_steps, restarts=o.restarts, seed=o.seed)
    return attack if o.area is None else BestLocation(attack, area=o.area, shortlist=10, tries=2, seed=o.seed)


def _patch_search(o: Options) -> Attack:
    return PatchRandomSearch(**o.free_or_masked(), steps=o.queries, seed=o.seed)


def _hard_label(o: Options) -> Attack:
    return HardLabel(**o.free_or_masked(), steps=o.queries, seed=o.seed)


def _pgd(o: Options) -> Attack:
    return PGD(o.ball, steps=o.gradient_steps, restarts=o.restarts, loss="margin", seed=o.seed)


def _square(o: Options) -> Attack:
    return Square(o.ball, steps=o.queries, seed=o.seed)


def _gradient_steps(o: Options) -> int:
    return o.gradient_steps


def _queries(o: Options) -> int:
    return o.queries


#: The attacks by name.
ATTACKS: dict[str, Entry] = {
    "autopatch": Entry(_autopatch, "worst case of many attacks with one patch, no settings"),
    "lavan": Entry(_lavan, "free noise at a random place on the border", steps=_gradient_steps),
    "patch-pgd": Entry(_patch_pgd, "gradient ascent at each image's own best place", steps=_gradient_steps),
    "low-frequency": Entry(_low_frequency, "noise of low frequency at the best place", steps=_gradient_steps),
    "transfer": Entry(_transfer, "patch-pgd made on another model", steps=_gradient_steps, blind=True),
    "universal-patch": Entry(_universal_patch, "one patch made on held-out images", steps=_gradient_steps),
    "patch-search": Entry(_patch_search, "random search without gradients", steps=_queries, blind=True),
    "hard-label": Entry(_hard_label, "random search on answers alone", steps=_queries, blind=True),
    "pgd": Entry(_pgd, "the whole image, linf at most --eps", whole=True, steps=_gradient_steps),
    "square": Entry(_square, "the whole image, linf, random search", whole=True, steps=_queries, blind=True),
}


def image_campaigns(
    names: Sequence[str], options: Options, areas: Sequence[float] = (), steps: Sequence[int] = ()
) -> list[ImageCampaign]:
    """The named attacks, and their variations for curves.

    Args:
        names: keys of :data:`ATTACKS`.
        options: what they share.
        areas: further patch areas, for attacks that place a patch.
        steps: further numbers of steps, for attacks that have such.

    Raises:
        ValueError: an unknown name; areas where a mask fixes the place; or a value that the options refuse.
    """
    if unknown := [name for name in names if name not in ATTACKS]:
        raise ValueError(f"unknown attack {', '.join(map(repr, unknown))}; there are: {', '.join(ATTACKS)}")
    if areas and options.area is None:
        raise ValueError("a curve over patch areas needs a patch that is free to be placed, not a mask")
    return [campaign for name in dict.fromkeys(names) for campaign in _with_curves(name, options, areas, steps)]


def _with_curves(name: str, options: Options, areas: Sequence[float], steps: Sequence[int]) -> Iterator[ImageCampaign]:
    entry = ATTACKS[name]
    at: list[tuple[str, float]] = [] if entry.whole or options.area is None else [("area", options.area)]
    at += [] if entry.steps is None else [("steps", entry.steps(options))]
    yield _campaign(name, entry, options, at=tuple(at))
    own = dict(at)
    varied = [("area", area, replace(options, area=area)) for area in areas if "area" in own]
    varied += [("steps", step, replace(options, steps=step)) for step in steps if "steps" in own]
    for axis, value, other in varied:
        if value != own[axis]:
            yield _campaign(f"{name} {axis} {value:g}", entry, other, point=Point(name, axis, value))


def _campaign(
    title: str, entry: Entry, options: Options, point: Point | None = None, at: tuple[tuple[str, float], ...] = ()
) -> ImageCampaign:
    threat = InBall(options.ball) if entry.whole else options.patch
    return ImageCampaign(title, entry.make(options), threat, point, at)
