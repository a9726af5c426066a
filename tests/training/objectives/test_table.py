"""Objectives by name."""

import pytest

from blurnet.training.objectives.table import ObjectiveSpec, make_objective


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
    ],
)
def test_what_does_not_exist_is_refused(spec, error, says):
    with pytest.raises(error, match=says):
        make_objective(spec)
