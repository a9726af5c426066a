"""Objectives by name: what ``model.objective`` of a recipe may say."""

import inspect
from dataclasses import dataclass, field

from blurnet.checks import one_of
from blurnet.strict import check_arguments, from_dict
from blurnet.training.objectives.adversarial import TRADES, FastTraining, FGSMTraining, PGDTraining
from blurnet.training.objectives.base import CleanLogitPairing, Natural, Objective
from blurnet.training.objectives.masked import MaskTraining
from blurnet.training.objectives.patches import OcclusionTraining, PatchTraining
from blurnet.zoo.spec import Plain

#: Each name with its class, and with the arguments in which it differs from the class's own defaults.
OBJECTIVES: dict[str, tuple[type[Objective], dict[str, Plain]]] = {
    "natural": (Natural, {}),
    "fgsm": (FGSMTraining, {}),
    "pgd": (PGDTraining, {}),
    "pgd-targeted": (PGDTraining, {"target": "random", "clean_start": 0.2}),
    "alp": (PGDTraining, {"clean": 0.5, "pairing": 0.5}),
    "clp": (CleanLogitPairing, {}),
    "trades": (TRADES, {}),
    "fast": (FastTraining, {}),
    "doa": (OcclusionTraining, {}),
    "patch": (PatchTraining, {}),
    "masked": (MaskTraining, {}),
    "masked-random": (MaskTraining, {"tries": 1}),
}


@dataclass(frozen=True)
class ObjectiveSpec:
    """An objective as plain data.

    Args:
        name: an entry of :data:`OBJECTIVES`.
        args: keyword arguments of its class; label smoothing is the classifier's. One that is an objective again is
            said by its own name and args.
    """

    name: str = "natural"
    args: dict[str, Plain] = field(default_factory=dict)


def make_objective(spec: ObjectiveSpec, label_smoothing: float = 0.0) -> Objective:
    """The objective that a spec describes.

    Raises:
        ValueError: unknown name or argument (lists what exists), or a value out of range.
        TypeError: an argument of the wrong type.
    """
    kind, preset = OBJECTIVES[one_of(spec.name, OBJECTIVES, "objective")]
    where = f"objective {spec.name!r}: args"
    inner = {name: make_objective(one, label_smoothing) for name, one in inner_specs(spec, where).items()}
    args = check_arguments(kind, preset | spec.args | inner, where, given=["label_smoothing"])
    return kind(label_smoothing=label_smoothing, **args)


def inner_specs(spec: ObjectiveSpec, where: str = "objective") -> dict[str, ObjectiveSpec]:
    """The objectives among an objective's arguments, by the argument's name; ``where`` starts an error message."""
    kind, _ = OBJECTIVES[one_of(spec.name, OBJECTIVES, "objective")]
    return {
        name: from_dict(ObjectiveSpec, spec.args[name], f"{where}: {name}")
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.annotation == (Objective | None) and spec.args.get(name) is not None
    }
