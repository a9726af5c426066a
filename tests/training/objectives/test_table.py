"""Objectives by name."""

import pytest

from blurnet.training.objectives.adversarial import TRADES
from blurnet.training.objectives.masked import MaskTraining
from blurnet.training.objectives.table import ObjectiveSpec, inner_specs, make_objective

BESIDE = {"name": "trades", "args": {"beta": 3.0}}


@pytest.mark.parametrize(
    ("spec", "error", "says"),
    [
        (ObjectiveSpec("madry"), ValueError, r"objective: expected one of \['natural', 'fgsm', .*\], got 'madry'"),
        (ObjectiveSpec("pgd", {"epsilon": 1.0}), ValueError, "unknown .*epsilon.* allowed are .*radius"),
        (ObjectiveSpec("pgd", {"label_smoothing": 0.1}), ValueError, "unknown .*label_smoothing"),
        (ObjectiveSpec("pgd", {"steps": 2.5}), TypeError, "expected int, got 2.5"),
        (ObjectiveSpec("pgd", {"target": "any"}), TypeError, "least-likely"),
        (ObjectiveSpec("pgd", {"radius": -1.0}), ValueError, "PGDTraining radius: expected from 0, got -1.0"),
        (ObjectiveSpec("fgsm", {"clean": 2.0}), ValueError, r"FGSMTraining clean: expected in \[0, 1\], got 2.0"),
        (ObjectiveSpec("trades", {"step_size": 0.0}), ValueError, "step_size: expected a positive number"),
        (ObjectiveSpec("doa", {"stride": 0}), ValueError, "stride: expected from 1, got 0"),
        (ObjectiveSpec("patch", {"area": 2.0}), ValueError, r"area: expected a share .* got 2.0"),
        (
            ObjectiveSpec("masked", {"clean": 0.5, "unmasked": {"name": "madry"}}),
            ValueError,
            r"objective: expected one of .* got 'madry'",
        ),
        (
            ObjectiveSpec("masked", {"clean": 0.5, "unmasked": {"name": "trades", "args": {"betas": 3.0}}}),
            ValueError,
            r"objective 'trades': args: unknown \['betas'\]; allowed are",
        ),
        (
            ObjectiveSpec("masked", {"clean": 0.5, "unmasked": {"name": "trades", "beta": 3.0}}),
            ValueError,
            r"objective 'masked': args: unmasked: unknown \['beta'\]; allowed are \['name', 'args'\]",
        ),
        (
            ObjectiveSpec("masked", {"clean": 0.5, "unmasked": "trades"}),
            TypeError,
            r"objective 'masked': args: unmasked: expected an object with the keys \['name', 'args'\], got 'trades'",
        ),
        (ObjectiveSpec("masked", {"unmasked": BESIDE}), ValueError, "its weight is clean, expected above 0"),
        (ObjectiveSpec("trades", {"unmasked": BESIDE}), ValueError, r"unknown \['unmasked'\]"),
        (ObjectiveSpec("masked", {"_start": None}), ValueError, r"unknown \['_start'\]"),
    ],
)
def test_what_does_not_exist_is_refused(spec, error, says):
    with pytest.raises(error, match=says):
        make_objective(spec)


def test_an_objective_inside_another():
    spec = ObjectiveSpec("masked-random", {"clean": 0.5, "unmasked": BESIDE})
    assert inner_specs(spec) == {"unmasked": ObjectiveSpec("trades", {"beta": 3.0})}
    assert inner_specs(ObjectiveSpec("masked", {"unmasked": None})) == inner_specs(ObjectiveSpec("trades")) == {}
    made = make_objective(spec, label_smoothing=0.1)
    inner = TRADES(beta=3.0, label_smoothing=0.1)
    assert made == MaskTraining(tries=1, clean=0.5, unmasked=inner, label_smoothing=0.1)
    assert made.parts == (made, inner)
