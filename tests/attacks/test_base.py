"""The attack base class on its own."""

from dataclasses import dataclass
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from blurnet.attacks.base import Attack, Problem, Record
from blurnet.bounds import Share
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


def test_an_attack_is_its_settings_and_a_search():
    """Guards, modes, records, validation and the representation come with the base class."""

    @dataclass(frozen=True)
    class Paint(Attack):
        level: Share = 1.0
        where: Literal["top", "all"] = "top"
        hidden: Tensor | None = None

        def search(self, problem: Problem) -> Record:
            painted = problem.images.clone()
            painted[..., : 1 if self.where == "top" else 2, :] = self.level
            return problem.record(painted)

    assert repr(Paint(0.5, hidden=torch.ones(2))) == "Paint(level=0.5, where='top')"
    with pytest.raises(ValueError, match=r"Paint level: expected a share in .*, got 2"):
        Paint(2.0)
    with pytest.raises(ValueError, match=r"Paint where: expected one of .'top', 'all'., got 'left'"):
        Paint(where="left")
    seen: list[int] = []

    def model(x: Tensor) -> Tensor:
        seen.append(len(x))
        return NET(x)

    answers = NET(X).argmax(1)
    record = Paint().record(model, X, answers)
    assert seen == [2, 2]  # the clean images, and what came of them
    assert torch.equal(record.adversarial[..., 0, :], torch.ones(2, 3, 2))
    assert torch.equal(record.stage, torch.where(NET(record.adversarial).argmax(1) != answers, 0, -1))
    assert record.calls.tolist() == [2, 2]
    assert (record.box == -1).all()
    assert Paint().stage_names == ("Paint",)
    assert not Paint.universal


def test_problems_count_what_they_and_their_parts_are_shown():
    with Problem.of(NET, X, torch.tensor([0, 1])) as problem:
        part, other = problem.at(torch.tensor([1])), problem.on(lambda x: -problem.model(x))
        part.model(part.images)
        other.at(torch.tensor([0, 0])).model(X)
        assert part.model.seen == 1
        assert other.model.seen == 2
        assert problem.model.seen == 1 + 2 + 2  # `on` has looked at the clean images
        assert torch.equal(other.clean, -problem.clean)
        assert torch.equal(part.clean, problem.clean[1:])
        assert problem.average_calls().tolist() == [3, 3]


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
