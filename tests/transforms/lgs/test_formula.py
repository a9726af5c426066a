"""The formula with gradient: its numbers, its gates, its gradients."""

import pytest
import torch

from blurnet.transforms.lgs import fast as lgs_fast
from blurnet.transforms.lgs.formula import lgs_formula
from blurnet.transforms.lgs.lgs import lgs
from blurnet.transforms.lgs.settings import LGSSettings
from tests.transforms.lgs.reading import READINGS, image


@pytest.mark.parametrize("variant", READINGS, ids=lambda v: "-".join(v.values()))
@pytest.mark.parametrize("low_pass", [0, 3])
def test_the_formula_with_gradient_gives_the_same_numbers(variant, low_pass):
    x = image(2, 3, 47, 38)
    values = {"smoothing": 2.3, "block": 8, "overlap": 3, "threshold": 0.2, "temperature": 0.05, "gate": "hard"}
    settings = LGSSettings(**values, **variant, low_pass=low_pass)
    formula = lgs_formula(x, settings, settings.windows(x.shape))
    torch.testing.assert_close(formula, lgs_fast.lgs_fast(x, settings, settings.windows(x.shape)), rtol=0, atol=1e-12)


def test_gradcheck_with_the_exact_gate():
    x = image(1, 2, 9, 10, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: lgs(t, 1.3, 4, 1, 0.3, temperature=0), (x,))


@pytest.mark.parametrize("maps", ["gray", "channel"])
def test_gradcheck_of_the_soft_gate_and_of_what_is_learned(maps):
    x = image(1, 2, 9, 10, seed=3)
    x = (x * 0.9 + 0.05 * image(1, 2, 9, 10, seed=4)).requires_grad_()
    values = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.7, 0.3))

    def soft(t: torch.Tensor, smoothing: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
        return lgs(t, smoothing, 4, 1, threshold, 0.1, gate="soft", maps=maps, low_pass=3)

    assert torch.autograd.gradcheck(soft, (x, *values))


def test_the_soft_gate_becomes_the_hard_one():
    x = image(2, 3, 40, 40)
    hard = lgs(x, threshold=0.2)
    gaps = [
        float((lgs(x, threshold=0.2, temperature=t, gate="soft") - hard).abs().max()) for t in (0.1, 0.01, 1e-3, 1e-5)
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 0.05
    assert gaps[-1] < 1e-9


def test_the_gate_passes_a_gradient_straight_through():
    x = image(1, 3, 32, 32).requires_grad_()
    hard, through = lgs(x, temperature=0), lgs(x)
    assert torch.equal(hard, through)
    (a,) = torch.autograd.grad(hard.sum(), x)
    (b,) = torch.autograd.grad(through.sum(), x)
    assert a.isfinite().all()
    assert b.isfinite().all()
    assert not torch.equal(a, b)


def test_without_the_temperature_only_kept_windows_have_another_gradient_than_the_identity():
    x = image(1, 3, 64, 64).requires_grad_()
    out = lgs(x, threshold=0.2, temperature=0)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert (gradient[..., 40:, :20] == 1).all()
    assert (gradient[..., 5:15, 50:60] != 1).any()


def test_the_gates_part_of_the_gradient_opens_the_gate():
    """A step along it lets more light through the smooth gate than a step against it."""
    x = image(1, 3, 32, 32).requires_grad_()
    with_gate, without = (torch.autograd.grad(lgs(x, temperature=t).sum(), x)[0] for t in (0.05, 0))
    step = 1e-4 * (with_gate - without) / (with_gate - without).abs().max()
    ahead, back = (lgs(t.detach(), gate="soft").sum() for t in (x + step, x - step))
    assert ahead > back
