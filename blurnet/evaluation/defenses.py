"""The defenses of an evaluated model: those it was built with, and those the evaluation puts in front of it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from torch import nn

from blurnet.transforms.base import defend, transforms_of
from blurnet.zoo.build import make_transforms
from blurnet.zoo.describe import describe_defenses
from blurnet.zoo.spec import DefenseSpec, ModelSpec


def put_in_front(model: nn.Module, added: Sequence[DefenseSpec]) -> nn.Module:
    """The model behind further input transformations, in the order given; the model itself where there are none.

    Args:
        model: from :func:`~blurnet.zoo.models.load_model`. Its classes, card and spec go over to the result; they
            describe it without what is added.
        added: input transformations without a place.

    Raises:
        ValueError, TypeError: as :func:`~blurnet.zoo.build.make_transforms`.
    """
    if not added:
        return model
    behind = defend(model, *make_transforms(added))
    vars(behind).update({name: vars(model)[name] for name in ("classes", "card", "spec") if name in vars(model)})
    return behind.eval()


def check_gradients(model: nn.Module, attacks: Sequence[str], free: Sequence[str]) -> None:
    """Where attacks see no surrogates: refuse transformations without a gradient to attacks that take one.

    Args:
        model: what is attacked, not adaptively.
        attacks: names of the chosen ones.
        free: those that take no gradient of the model, for the message.

    Raises:
        ValueError: an attack would have no gradient; says which, and what would run.
    """
    blind = sorted({type(t).__name__ for t in transforms_of(model) if not t.differentiable})
    if blind and (taking := [name for name in attacks if name not in free]):
        raise ValueError(
            f"--no-adaptive: {', '.join(blind)} has no gradient of its own, which {', '.join(taking)} would need; "
            f"leave the option out, or attack with {', '.join(free)}"
        )


def defenses_part(spec: ModelSpec | None, added: Sequence[DefenseSpec]) -> dict[str, Any]:
    """``report["defenses"]``: what stands in front of or inside the evaluated model, as data and in a sentence.

    Args:
        spec: of the model; None where none is known.
        added: what the evaluation put in front of it.
    """
    own = [] if spec is None else spec.defenses
    said = [f"{describe_defenses(added)}, added for this evaluation"] if added else []
    said += [f"{describe_defenses(own)}, of the model itself"] if own else []
    return {
        "own": [dataclasses.asdict(defense) for defense in own],
        "added": [dataclasses.asdict(defense) for defense in added],
        "note": f"Defenses: {'; then '.join(said) or 'none'}.",
    }
