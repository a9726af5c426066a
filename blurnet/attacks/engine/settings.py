"""Attacks as values: how a setting is read and changed inside wrappers."""

import dataclasses
from typing import Any, TypeVar

from blurnet.attacks.base import Attack

A = TypeVar("A", bound=Attack)


def replace_inside(attack: A, **changes: Any) -> A:
    """A copy of the attack with other settings; those that it lacks are changed in the attack it wraps.

    Args:
        attack: a frozen dataclass; a wrapper holds the attack inside as its field ``attack``, or several as
            ``attacks``, all of which are changed.
        changes: settings by name.

    Raises:
        ValueError: a setting that neither the attack nor any it wraps has.
    """
    names = {f.name for f in dataclasses.fields(attack)}  # type: ignore[arg-type]
    own = {name: value for name, value in changes.items() if name in names}
    rest = {name: value for name, value in changes.items() if name not in names}
    if rest:
        inner, several = getattr(attack, "attack", None), getattr(attack, "attacks", ())
        if isinstance(inner, Attack):
            own["attack"] = replace_inside(inner, **rest)
        elif several:
            own["attacks"] = tuple(replace_inside(one, **rest) for one in several)
        else:
            raise ValueError(f"{type(attack).__name__} has no {', '.join(rest)}; it has {', '.join(sorted(names))}")
    return dataclasses.replace(attack, **own)  # type: ignore[type-var]


def inside(attack: Attack, name: str, default: Any = None) -> Any:
    """The setting ``name`` of the attack, or of the nearest one it wraps that has it, or else ``default``."""
    current: object = attack
    while isinstance(current, Attack):
        if hasattr(current, name):
            return getattr(current, name)
        current = getattr(current, "attack", None)
    return default
