"""Objectives by name: what ``model.objective`` of a recipe may say."""

from dataclasses import dataclass, field

from blurnet.checks import one_of
from blurnet.strict import check_arguments
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
        args: keyword arguments of its class; label smoothing is the classifier's.
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
    args = check_arguments(kind, preset | spec.args, f"objective {spec.name!r}: args", given=["label_smoothing"])
    return kind(label_smoothing=label_smoothing, **args)
