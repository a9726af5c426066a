"""Losses against hand values in double precision."""

import math

import pytest
import torch

from blurnet.attacks.engine.losses import LOSSES, cross_entropy, dlr, margin, non_printability, objective, succeeded


def test_cross_entropy_is_per_sample():
    logits = torch.tensor([[0.0, 0.0], [2.0, 1.0]])
    wanted = torch.tensor([math.log(2), math.log(1 + math.e)])
    torch.testing.assert_close(cross_entropy(logits, torch.tensor([0, 1])), wanted)


def test_margin():
    logits = torch.tensor([[3.0, 1, 2], [3, 1, 2], [3, 1, 2]])
    torch.testing.assert_close(margin(logits, torch.tensor([0, 1, 2])), torch.tensor([1.0, -2, -1]))


def test_logit_difference_has_the_gradient_of_the_cross_entropy_difference():
    logits = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    label, target = torch.tensor([0, 1, 2, 3]), torch.tensor([4, 3, 0, 1])
    difference = (logits.gather(1, label[:, None]) - logits.gather(1, target[:, None])).sum()
    (a,) = torch.autograd.grad(difference, logits)
    (b,) = torch.autograd.grad((cross_entropy(logits, target) - cross_entropy(logits, label)).sum(), logits)
    torch.testing.assert_close(a, b)
    assert set(a.unique().tolist()) == {-1.0, 0.0, 1.0}


Z = torch.tensor([[4.0, 1, 3, 0, 2], [1, 6, 0, 5, 2]])
Y, T = torch.tensor([0, 3]), torch.tensor([3, 0])


def test_dlr_by_hand():
    """Sorted 4 3 2 1 0 and 6 5 2 1 0: the label leads by 1 over 4 - 2, and trails by 1 over 6 - 2."""
    torch.testing.assert_close(dlr(Z, Y), torch.tensor([-1 / 2, 1 / 4]))
    torch.testing.assert_close(dlr(Z, Y, T), torch.tensor([-4 / 2.5, -4 / 4.5]))


def test_dlr_forgets_the_scale_and_the_offset_of_the_logits():
    for targets in (None, T):
        torch.testing.assert_close(dlr(100 * Z - 7, Y, targets), dlr(Z, Y, targets))


def test_dlr_is_finite_where_all_logits_are_equal():
    logits = torch.zeros(2, 5, requires_grad=True)
    for targets in (None, T):
        loss = dlr(logits, Y, targets)
        assert loss.isfinite().all()
        assert torch.autograd.grad(loss.sum(), logits)[0].isfinite().all()


def test_dlr_needs_classes():
    with pytest.raises(ValueError, match="at least 3 classes, got 2"):
        dlr(Z[:, :2], Y * 0)
    with pytest.raises(ValueError, match="at least 4 classes, got 3"):
        dlr(Z[:, :3], Y * 0, T * 0 + 1)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("targeted", [False, True])
def test_objectives_rise_towards_success(name, targeted):
    """From the clean logits to those of a success; gradients checked in double precision."""
    targets = T if targeted else None
    goal = torch.nn.functional.one_hot(T, 5) * 9.0
    assert (objective(name, goal + 0.1 * Z, Y, targets) > objective(name, Z, Y, targets)).all()
    assert succeeded(goal, Y, targets).all()
    logits = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(5)).requires_grad_()
    label, target = torch.tensor([0, 1, 2]), torch.tensor([2, 0, 1]) if targeted else None
    assert torch.autograd.gradcheck(lambda z: objective(name, z, label, target), (logits,))


def test_the_margin_is_positive_exactly_at_success():
    z = torch.randn(200, 5, generator=torch.Generator().manual_seed(6))
    y, t = torch.arange(200) % 5, (torch.arange(200) + 2) % 5
    assert torch.equal(objective("margin", z, y) > 0, succeeded(z, y))
    assert torch.equal(objective("margin", z, y, t) > 0, succeeded(z, y, t))


def test_an_unknown_objective_lists_what_exists():
    with pytest.raises(ValueError, match=r"'cross-entropy', 'margin', 'dlr'.*got 'hinge'"):
        objective("hinge", Z, Y)


def colors(count: int = 30) -> torch.Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(1))


def picture() -> torch.Tensor:
    return torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("relaxed", [False, True])
def test_non_printability_equals_a_loop_in_double(relaxed):
    x, printable = picture(), colors()
    mask = (torch.rand(2, 1, 4, 5, generator=torch.Generator().manual_seed(3)) > 0.5).float()
    wanted = []
    for one, where in zip(x.double(), mask[:, 0], strict=True):
        total = 0.0
        for i in range(4):
            for j in range(5):
                distances = [math.dist(one[:, i, j].tolist(), p.tolist()) for p in printable.double()]
                total += float(where[i, j]) * (min(distances) if relaxed else math.prod(distances))
        wanted.append(total)
    score = non_printability(x, printable, mask, relaxed=relaxed)
    assert score.dtype == torch.float32
    torch.testing.assert_close(score.double(), torch.tensor(wanted, dtype=torch.float64), rtol=1e-4, atol=0)


@pytest.mark.parametrize("relaxed", [False, True])
def test_zero_exactly_where_every_pixel_is_printable(relaxed):
    printable = colors(7)
    index = torch.randint(7, (1, 4, 5), generator=torch.Generator().manual_seed(4))
    x = printable[index].movedim(-1, 1)
    mask = torch.ones(1, 1, 4, 5)
    assert non_printability(x, printable, mask, relaxed=relaxed) == 0
    x[0, 0, 1, 1] += 0.01
    assert non_printability(x, printable, mask, relaxed=relaxed) > 0
    mask[0, 0, 1, 1] = 0  # only pixels under the mask count
    assert non_printability(x, printable, mask, relaxed=relaxed) == 0


@pytest.mark.parametrize("relaxed", [False, True])
def test_gradients_are_finite_even_on_a_printable_colour(relaxed):
    printable = colors()
    x = picture()
    x[0, :, 0, 0] = printable[3]
    x[0, :, 0, 1] = printable[3] + 1e-7
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(non_printability(x, printable, torch.ones(1, 1, 4, 5), relaxed=relaxed).sum(), x)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


def test_gradient_of_the_product():
    x = picture()[:1].double().requires_grad_()
    printable, mask = colors(4).double(), torch.ones(1, 1, 4, 5)
    for relaxed in (False, True):
        assert torch.autograd.gradcheck(
            lambda t, relaxed=relaxed: non_printability(t, printable, mask, relaxed=relaxed), (x,)
        )
