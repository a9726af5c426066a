"""Attacks that published defenses were tested with, by name, from the libraries that have them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from torch import Tensor

from blurnet.attacks.ball.newtonfool import NewtonFool
from blurnet.attacks.base import Attack, Problem, Record
from blurnet.attacks.engine.targets import Rule
from blurnet.attacks.external import External, library
from blurnet.balls import Ball
from blurnet.bounds import Count
from blurnet.checks import one_of

#: Makes the library's attack of a number of steps; it imports the library.
Maker = Callable[[int], Callable[..., Any]]


class Published(NamedTuple):
    """One row of :data:`PUBLISHED`."""

    text: str
    make: Maker
    steps: int | None = None  #: by default; None: it has no such setting
    bounded: bool = False  #: keeps to a radius; else it looks for the nearest image that fools
    targets: Literal["any", "none", "always"] = "any"  #: whether it can, cannot or must aim at a class
    blind: bool = False  #: asks for no gradient
    source: Literal["foolbox", "art", "blurnet"] = "foolbox"


def _foolbox(name: str, **settings: Any) -> Any:
    return getattr(library("foolbox").attacks, name)(**settings)


def _climbs(name: str, moves: float) -> Maker:
    """A gradient attack of foolbox whose steps add up to so many radii, as at its default number of steps."""
    return lambda steps: _foolbox(name, steps=steps, rel_stepsize=moves / steps)


def _carlini_wagner(steps: int) -> Callable[..., Any]:
    # Its early stop looks at the batch's summed loss: companions would matter, and it stops far too soon.
    return _FoundOrClean(_foolbox("L2CarliniWagnerAttack", steps=steps, abort_early=False))


def _jsma(_: int) -> Callable[..., Any]:
    library("art.attacks.evasion")
    return SaliencyMapMethod


#: The published attacks by name, each by its row.
PUBLISHED: dict[str, Published] = {
    "fgsm": Published(
        "one sign step", lambda _: _foolbox("LinfFastGradientAttack"), bounded=True, targets="none"
    ),  # Goodfellow et al. 2015
    "bim": Published("small sign steps", _climbs("LinfBasicIterativeAttack", 2), 10, True),  # Kurakin et al. 2017
    "pgd-foolbox": Published(
        "small sign steps from a random start", _climbs("LinfPGD", 4 / 3), 40, True
    ),  # Madry et al. 2018
    # Dong et al. 2018; foolbox sums signs of gradients where the paper sums gradients over their mean size.
    "momentum": Published(
        "MI-FGSM: sign steps with momentum", _climbs("LinfMomentumIterativeFastGradientMethod", 2), 10, True
    ),
    "deepfool": Published(
        "nearest wrong class of the linearised net, L2", lambda n: _foolbox("L2DeepFoolAttack", steps=n), 50,
        targets="none",
    ),  # Moosavi-Dezfooli et al. 2016
    "carlini-wagner": Published("least L2 distance by Adam, nine constants", _carlini_wagner, 100),  # C. and W. 2017
    "newtonfool": Published(
        "Newton steps on the label's probability", lambda n: NewtonFool(n), 100, targets="none", source="blurnet"
    ),  # Jang et al. 2017
    "salt-and-pepper": Published(
        "black and white pixels, as few as do", lambda n: _foolbox("SaltAndPepperNoiseAttack", steps=n), 1000,
        blind=True,
    ),
    # Papernot et al. 2016
    "jsma": Published("two saliency-map values at a time, L0", _jsma, targets="always", source="art"),
}  # fmt: skip


def published_attack(
    name: str, *, radius: float = 8 / 255, steps: int | None = None, seed: int = 0, target: int | Rule | None = None
) -> Attack:
    """A published attack with the settings of its library, its result checked (:class:`~blurnet.External`).

    ::

        published_attack("bim", radius=4 / 255)(net, images, labels)
        SmallestRadius(published_attack("fgsm"), radii=(1 / 255, 2 / 255, 4 / 255, 8 / 255))

    "fgsm", "bim", "pgd-foolbox" and "momentum" stay within the radius. "deepfool", "carlini-wagner", "newtonfool" and
    "salt-and-pepper" look for the nearest image that fools, whatever its distance; so does "jsma", by single values.
    "pgd-foolbox" and "salt-and-pepper" draw for the whole batch, so that an image's result depends on its companions.

    All are foolbox's, except "jsma" (ART) and "newtonfool" (:class:`~blurnet.NewtonFool`, which says why).

    Args:
        name: a key of :data:`PUBLISHED`.
        radius: linf, in pixel units, in (0, 1]; for those that keep to one.
        steps: gradient steps ("carlini-wagner": for each of nine constants; "salt-and-pepper": model calls); None is
            the library's number, 100 for "carlini-wagner". Step sizes shrink as steps grow.
        seed: of what it draws.
        target: class to reach, or its rule on the clean image; None is untargeted.

    Raises:
        ValueError: an unknown name (lists what exists), a radius out of range, steps of an attack that has none, a
            target of one that has no targeted form, or none for "jsma", which always aims at a class.
        ImportError: the library is not installed; the message says what to install.
    """
    row = PUBLISHED[one_of(name, PUBLISHED, "published attack")]
    if not 0 < radius <= 1:
        raise ValueError(f"{name} radius: expected above 0 and at most 1, such as 8/255, got {radius!r}")
    if steps is not None and (row.steps is None or steps < 1):
        wanted = "none, it has no such setting" if row.steps is None else "at least 1"
        raise ValueError(f"{name} steps: expected {wanted}, got {steps}")
    if (row.targets == "none" and target is not None) or (row.targets == "always" and target is None):
        wanted = "none" if row.targets == "none" else 'a class or a rule such as "second"'
        raise ValueError(f"{name} target: expected {wanted}, got {target!r}")
    attack = row.make(steps or row.steps or 1)
    if isinstance(attack, Attack):
        return attack
    ball = Ball("linf", radius) if row.bounded else None
    return External("art" if row.source == "art" else "foolbox", attack, ball, target=target, seed=seed)


@dataclass(frozen=True)
class PublishedAttack(Attack):
    """:func:`published_attack` as a value with these settings, for tables of attacks.

    Args:
        name: as there.
        radius: as there.
        steps: as there.
        seed: as there.
        target: as there.

    Raises:
        ValueError, ImportError: as there.
    """

    name: str
    radius: float = 8 / 255
    steps: Count | None = None
    seed: int = 0
    target: int | Rule | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._made()

    def __repr__(self) -> str:
        return repr(self._made())

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The published name."""
        return (self.name,)

    def search(self, problem: Problem) -> Record:
        """The record of the attack itself."""
        return self._made().search(problem)

    def _made(self) -> Attack:
        return published_attack(self.name, radius=self.radius, steps=self.steps, seed=self.seed, target=self.target)


class _FoundOrClean:
    """An attack of foolbox that gives a black image where it has found nothing; here the image itself."""

    def __init__(self, attack: Callable[..., Any]) -> None:
        self.attack = attack

    def __call__(self, model: Any, inputs: Tensor, criterion: Any, *, epsilons: float | None) -> tuple[Any, Any, Any]:
        raw, clipped, success = self.attack(model, inputs, criterion, epsilons=epsilons)
        black = (clipped == 0).flatten(1).all(dim=1).view(-1, 1, 1, 1)
        return raw, clipped.where(~black, inputs), success

    def __repr__(self) -> str:
        return repr(self.attack)


class SaliencyMapMethod:
    """ART's of this name, which aims at the classes it is given and refuses to be told so."""

    def __init__(self, classifier: Any) -> None:
        self.generate = library("art.attacks.evasion").SaliencyMapMethod(classifier, verbose=False).generate

    def set_params(self, targeted: bool) -> None:
        """It has no other way."""
