"""The attacks that an evaluation knows by name, and how their settings follow from a few shared ones.

One line in :data:`ATTACKS` enrolls a new one; the fields of its class are its options, on the command line too.
"""

import dataclasses
import typing
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from blurnet.attacks.autopatch import AutoPatch
from blurnet.attacks.ball.pgd import PGD
from blurnet.attacks.ball.square import Square
from blurnet.attacks.base import Attack
from blurnet.attacks.engine.targets import Rule
from blurnet.attacks.patch.hard_label import HardLabel
from blurnet.attacks.patch.lavan import LaVAN
from blurnet.attacks.patch.location import BestLocation
from blurnet.attacks.patch.low_frequency import LowFrequency
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.attacks.patch.random_search import PatchRandomSearch
from blurnet.attacks.published import PUBLISHED, PublishedAttack
from blurnet.attacks.universal.held_out import HeldOutPatch
from blurnet.attacks.universal.rp2 import RP2
from blurnet.attacks.wrappers.model import Transfer
from blurnet.evaluation.context import Context
from blurnet.evaluation.threats import InBall, Nearest, Threat
from blurnet.strict import Hint, Setting, coerce, is_plain, parse_call

UNIVERSAL = "rp2"  #: the attack with one noise for all victims; all others work image by image


class Choice(NamedTuple):
    """An attack by its name, with settings of its own."""

    name: str
    args: dict[str, Setting]

    @property
    def title(self) -> str:
        """How reports call it: "lavan", or "lavan lr=0.1"."""
        return " ".join([self.name, *(f"{key}={value}" for key, value in self.args.items())])


class Entry(NamedTuple):
    """How an attack is made."""

    make: Callable[[Context], Attack]
    text: str  #: for --help
    kind: type[Attack]  #: whose fields are its options
    whole: bool = False  #: attacks the whole image within eps, not a patch
    steps: Callable[[Context], int] | None = None  #: its number of steps, where they can be varied
    blind: bool = False  #: takes no gradient of the evaluated model
    nearest: bool = False  #: looks for the nearest image that fools, at any distance


def _autopatch(c: Context) -> Attack:
    return AutoPatch(**c.free_or_masked(), budget=c.budget, source=c.source, views=c.views, seed=c.seed)


def _lavan(c: Context) -> Attack:
    return LaVAN(target=None, mask=c.where(), steps=c.gradient_steps, seed=c.seed)


def _at_best_place(c: Context, attack: Attack, tries: int) -> Attack:
    """The attack at each image's best places, where the patch is free to be placed."""
    return attack if c.area is None else BestLocation(attack, area=c.area, shortlist=10, tries=tries, seed=c.seed)


def _patch_pgd(c: Context) -> Attack:
    return _at_best_place(c, PatchPGD(mask=c.where(), steps=c.gradient_steps, restarts=c.restarts, seed=c.seed), 2)


def _transfer(c: Context) -> Attack:
    if c.source is None:
        raise ValueError("transfer: name the model that the attack is made on (--transfer-from)")
    attack = PatchPGD(mask=c.where(), steps=c.gradient_steps, restarts=c.restarts, stop=False, seed=c.seed)
    return Transfer(_at_best_place(c, attack, 1), c.source, c.source_name)


def _universal_patch(c: Context) -> Attack:
    if c.area is None:
        raise ValueError("universal-patch: needs a patch that is free to be placed, not a mask")
    if c.held_out is None:
        raise ValueError("universal-patch: name data with --data; the patch is made on its val split")
    return HeldOutPatch(*c.held_out, c.area, steps=c.gradient_steps, origin=c.held_out_name, seed=c.seed)


def _low_frequency(c: Context) -> Attack:
    return _at_best_place(c, LowFrequency(mask=c.where(), steps=c.gradient_steps, restarts=c.restarts, seed=c.seed), 2)


def _patch_search(c: Context) -> Attack:
    return PatchRandomSearch(**c.free_or_masked(), steps=c.queries, seed=c.seed)


def _hard_label(c: Context) -> Attack:
    return HardLabel(**c.free_or_masked(), steps=c.queries, seed=c.seed)


def _pgd(c: Context) -> Attack:
    return PGD(c.ball, steps=c.gradient_steps, restarts=c.restarts, loss="margin", seed=c.seed)


def _square(c: Context) -> Attack:
    return Square(c.ball, steps=c.queries, seed=c.seed)


def _published(name: str, c: Context) -> Attack:
    steps = None if (count := _PUBLISHED_STEPS.get(name)) is None else count(c)
    target: Rule | None = "second" if PUBLISHED[name].targets == "always" else None
    return PublishedAttack(name, c.eps, steps, c.seed, target)


def _gradient_steps(c: Context) -> int:
    return c.gradient_steps


def _queries(c: Context) -> int:
    return c.queries


#: What counts as steps of the published attacks that have any.
_PUBLISHED_STEPS: dict[str, Callable[[Context], int]] = {
    name: _queries if row.blind else _gradient_steps for name, row in PUBLISHED.items() if row.steps is not None
}


def _published_entry(name: str) -> Entry:
    row = PUBLISHED[name]
    steps = _PUBLISHED_STEPS.get(name)
    make = partial(_published, name)
    return Entry(make, row.text, PublishedAttack, True, steps, blind=row.blind, nearest=not row.bounded)


#: The attacks image by image, by name.
ATTACKS: dict[str, Entry] = {
    "autopatch": Entry(_autopatch, "worst case of many attacks with one patch, no settings", AutoPatch),
    "lavan": Entry(_lavan, "free noise at a random place on the border", LaVAN, steps=_gradient_steps),
    "patch-pgd": Entry(_patch_pgd, "gradient ascent at each image's own best place", PatchPGD, steps=_gradient_steps),
    "low-frequency": Entry(
        _low_frequency, "noise of low frequency at the best place", LowFrequency, steps=_gradient_steps
    ),
    "transfer": Entry(_transfer, "patch-pgd made on another model", PatchPGD, steps=_gradient_steps, blind=True),
    "universal-patch": Entry(
        _universal_patch, "one patch made on held-out images", HeldOutPatch, steps=_gradient_steps
    ),
    "patch-search": Entry(
        _patch_search, "random search without gradients", PatchRandomSearch, steps=_queries, blind=True
    ),
    "hard-label": Entry(_hard_label, "random search on answers alone", HardLabel, steps=_queries, blind=True),
    "pgd": Entry(_pgd, "the whole image, linf at most --eps", PGD, whole=True, steps=_gradient_steps),
    "square": Entry(_square, "the whole image, linf, random search", Square, whole=True, steps=_queries, blind=True),
    **{name: _published_entry(name) for name in PUBLISHED},
}


def known_attacks() -> list[str]:
    """The names that :func:`parse_attacks` knows."""
    return [UNIVERSAL, *ATTACKS]


def parse_attacks(text: str) -> list[Choice]:
    """The attacks that a text names, such as "rp2,lavan:lr=0.1:steps=300", each once.

    Raises:
        ValueError: an unknown name or setting (lists what there is).
    """
    found: list[Choice] = []
    for part in text.split(","):
        name, args = parse_call(part.strip(), "--attacks")
        if name not in known_attacks():
            raise ValueError(f"--attacks: unknown {name!r}; there are: {', '.join(known_attacks())}")
        allowed = options_of(RP2 if name == UNIVERSAL else ATTACKS[name].kind)
        checked = {key: _setting(name, key, value, allowed) for key, value in args.items()}
        if (choice := Choice(name, checked)) not in found:
            found.append(choice)
    return found


def options_of(kind: type[Attack]) -> dict[str, Hint]:
    """The settings of a class of attacks that a text can give, by name, with their types.

    What says where an attack may write or what it aims at belongs to the evaluation and is left out.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    left_out = {"area", "target"} if kind is RP2 else {"area", "name", "radius"}
    names = [f.name for f in dataclasses.fields(kind) if f.name not in left_out]  # type: ignore[arg-type]
    return {name: hints[name] for name in names if is_plain(hints[name])}


def describe_attacks() -> str:
    """The attacks with their options, for ``--help``."""
    listed: list[tuple[str, str, type[Attack]]] = [
        (UNIVERSAL, "one noise for all victims: a sticker printed once", RP2)
    ]
    listed += [(name, entry.text, entry.kind) for name, entry in ATTACKS.items()]
    lines = [f"  {name:16} {text}; options: {', '.join(options_of(kind))}" for name, text, kind in listed]
    return "\n".join(lines)


def make_attack(choice: Choice, context: Context) -> Attack:
    """The attack of a choice image by image, its own settings put over those of the context."""
    entry = ATTACKS[choice.name]
    return _with_settings(entry.make(context), entry.kind, choice.args)


def _with_settings(attack: Attack, kind: type[Attack], settings: dict[str, Setting]) -> Attack:
    """The attack with other settings of the one of this kind, however deep it is wrapped."""
    if not settings:
        return attack
    if isinstance(attack, kind):
        return dataclasses.replace(attack, **settings)  # type: ignore[type-var]
    inner = _with_settings(attack.attack, kind, settings)  # type: ignore[attr-defined]
    return dataclasses.replace(attack, attack=inner)  # type: ignore[type-var]


def threat_of(name: str, context: Context) -> Threat:
    """What the attack called ``name`` may change."""
    entry = ATTACKS[name]
    if entry.nearest:
        return Nearest()
    return InBall(context.ball) if entry.whole else context.patch


def blind_attacks() -> list[str]:
    """The names of those that take no gradient of the evaluated model."""
    return [name for name, entry in ATTACKS.items() if entry.blind]


def _setting(name: str, key: str, value: Setting, allowed: dict[str, Hint]) -> Setting:
    if key not in allowed:
        raise ValueError(f"--attacks: {name} has no {key!r}; it has {', '.join(allowed)}")
    checked: Setting = coerce(value, allowed[key], f"--attacks: {name}: {key}")
    return checked
