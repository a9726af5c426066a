"""Optimizers and schedules by name."""

import pytest
import torch
from torch import nn

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
