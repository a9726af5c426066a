"""The attack base class on its own."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from blurnet.attacks.base import Attack, Problem, Record
from blurnet.modes import attacking


@dataclass(frozen=True)
class Brighten(Attack):
    step: float = 0.1

    def search(self, problem: Problem) -> Record:
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        assert problem.labels.dtype == torch.int64
        x = problem.images.requires_grad_()
        (gradient,) = torch.autograd.grad(problem.model(x).sum(), x)
        return problem.record((x + self.step * gradient.sign()).clamp(0, 1))


NET = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
X = torch.full((2, 3, 2, 2), 0.5)


def test_the_result_is_detached_and_the_input_untouched():
    x = X.clone()
    out = Brighten()(NET, x, torch.tensor([0, 1], dtype=torch.uint8))
    assert not out.requires_grad
    assert not x.requires_grad
    assert torch.equal(x, X)


def test_repr_is_the_line_of_a_report():
    assert repr(Brighten(0.2)) == "Brighten(step=0.2)"
    assert Brighten(0.2) == Brighten(0.2)
    assert hash(Brighten(0.2)) == hash(Brighten(0.2))


def test_search_is_abstract():
    class Nothing(Attack):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Nothing()


def test_input_with_a_graph_is_cut_from_it():
    x = X.clone().requires_grad_()
    Brighten()(NET, x * 1.0, torch.tensor([0, 1]))
    assert x.grad is None


def test_frozen_parameters_take_no_gradient():
    with attacking(NET):
        assert not any(p.requires_grad for p in NET.parameters())
        (NET(X.clone().requires_grad_())).sum().backward()
    assert all(p.requires_grad and p.grad is None for p in NET.parameters())


def test_a_shared_parameter_is_restored():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    with attacking(net), attacking(net):
        pass
    assert all(p.requires_grad for p in net.parameters())
