"""Losses against hand values in double precision."""

import math

import pytest
import torch

from blurnet.attacks.losses import cross_entropy, margin, non_printability


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
