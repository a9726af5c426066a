"""Optimizers and schedules by name."""

import pytest
import torch
from torch import nn

from blurnet.training.classifier import Classifier
from blurnet.training.optimizers import make_optimizer, make_schedule


@pytest.mark.parametrize("name", ["sgd", "adam", "adadelta"])
def test_optimizers_take_a_step(name: str) -> None:
    net = nn.Linear(3, 2)
    before = net.weight.detach().clone()
    optimizer = make_optimizer(name, net.parameters(), lr=0.1, weight_decay=1e-4)
    net(torch.ones(1, 3)).square().sum().backward()
    optimizer.step()
    assert not torch.equal(before, net.weight)


def test_schedules_end_where_they_say() -> None:
    for name, last in (("one-cycle", 0.0), ("cosine", 0.0), ("constant", 0.1)):
        optimizer = make_optimizer("sgd", nn.Linear(1, 1).parameters(), lr=0.1)
        schedule = make_schedule(name, optimizer, 20)
        rates = []
        for _ in range(20):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if schedule is not None:
                schedule.step()
        assert max(rates) == pytest.approx(0.1, rel=0.03)
        assert rates[-1] == pytest.approx(last, abs=1e-3)


def test_unknown_names_are_refused() -> None:
    parameters = list(nn.Linear(1, 1).parameters())
    with pytest.raises(ValueError, match=r"optimizer: expected one of \['sgd', 'adam', 'adadelta'\], got 'lion'"):
        make_optimizer("lion", parameters, lr=0.1)  # type: ignore[arg-type]
    optimizer = make_optimizer("sgd", parameters, lr=0.1)
    with pytest.raises(ValueError, match=r"schedule: expected one of \['one-cycle', .*\], got 'step'"):
        make_schedule("step", optimizer, 5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"trainer\.max_epochs"):
        make_schedule("cosine", optimizer, -1)


def test_optimizers_are_the_named_ones() -> None:
    parameters = list(nn.Linear(1, 1).parameters())
    sgd, plain, adam, adadelta = (
        make_optimizer(name, parameters, lr=0.1, weight_decay=0.01, momentum=momentum).defaults  # type: ignore[arg-type]
        for name, momentum in (("sgd", 0.8), ("sgd", 0.0), ("adam", 0.8), ("adadelta", 0.8))
    )
    assert (sgd["momentum"], sgd["nesterov"], plain["nesterov"]) == (0.8, True, False)
    assert adam["betas"] == (0.8, 0.999)
    assert (adadelta["rho"], adadelta["eps"]) == (0.95, 1e-8)
    assert {settings["lr"] for settings in (sgd, plain, adam, adadelta)} == {0.1}
    assert {settings["weight_decay"] for settings in (sgd, plain, adam, adadelta)} == {0.01}


def test_warm_up_rises_in_equal_steps_and_ends_at_zero():
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.4)
    schedule = make_schedule("cosine", optimizer, 20, warmup=0.2)
    assert schedule is not None
    rates = []
    for _ in range(21):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
    assert rates[12] == pytest.approx(0.2)
    assert rates[20] == pytest.approx(0, abs=1e-9)
    assert sorted(rates[4:], reverse=True) == rates[4:]


@pytest.mark.parametrize(("schedule", "warmup"), [("one-cycle", 0.1), ("constant", 0.1), ("cosine", 1.0)])
def test_a_warm_up_that_cannot_be_is_refused(schedule, warmup):
    with pytest.raises(ValueError, match="warmup: expected a share"):
        Classifier(("a", "b"), schedule=schedule, warmup=warmup)
