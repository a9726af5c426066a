"""The numbers of one tensor with the gradient of another."""

import pytest
import torch

from blurnet.bpda import bpda, with_pullback


def test_numbers_of_the_value_gradient_of_the_surrogate():
    x = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)
    value = (x * 7).round() / 7
    result = bpda(value, x.square())
    assert torch.equal(result, value)
    (gradient,) = torch.autograd.grad(result.sum(), x)
    assert torch.equal(gradient, (2 * x).detach())


def test_an_identity_gives_the_plain_gradient():
    x = torch.rand(4, requires_grad=True)
    (plain,) = torch.autograd.grad(x.exp().sum(), x)
    (through,) = torch.autograd.grad(bpda(x, x).exp().sum(), x)
    assert torch.equal(plain, through)


def test_gradients_of_gradients():
    x = torch.rand(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda t: bpda(t.square(), t.square()), (x,))


def test_no_gradient_where_the_surrogate_has_none():
    x = torch.rand(3, requires_grad=True)
    assert not bpda(x, x.detach()).requires_grad


def test_other_dtypes_meet():
    x = torch.rand(3, requires_grad=True)
    result = bpda(x.double().round(), x)
    assert result.dtype == torch.float64
    (gradient,) = torch.autograd.grad(result.sum(), x)
    assert torch.equal(gradient, torch.ones(3))


def test_other_shapes_raise():
    with pytest.raises(ValueError, match=r"\(2,\).*\(2, 1\)"):
        bpda(torch.zeros(2), torch.zeros(2, 1))


def test_a_gradient_that_a_function_makes_later():
    """The value's numbers; the function is asked at each backward pass, with the upstream gradient."""
    asked = []

    def pullback(x: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        asked.append(gradient.clone())
        return 3 * gradient.sum() * torch.ones_like(x)

    x, value = torch.zeros(2, 2, requires_grad=True), torch.tensor([1.0, 2.0])
    result = with_pullback(value, x, pullback)
    assert torch.equal(result, value)
    assert not asked
    for _ in range(2):
        (found,) = torch.autograd.grad((result * torch.tensor([1.0, 5.0])).sum(), x, retain_graph=True)
        assert torch.equal(found, torch.full((2, 2), 18.0))
    assert [gradient.tolist() for gradient in asked] == [[1.0, 5.0]] * 2
