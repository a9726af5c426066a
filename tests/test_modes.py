"""Modes, gradients and parameters: set while the block runs, and as they were after it, whatever happens."""

import pytest
import torch
from torch import nn

from blurnet.modes import attacking, evaluating, resting


@pytest.fixture
def net():
    """A net with one part in evaluation mode and one frozen parameter."""
    made = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.BatchNorm1d(2))
    made[2].eval()
    made[0].bias.requires_grad_(False)
    return made


def state(net):
    return [m.training for m in net.modules()], [p.requires_grad for p in net.parameters()], torch.is_grad_enabled()


@pytest.mark.parametrize("mode", [evaluating, resting, attacking])
@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_put_back(net, mode, fails):
    before = state(net)
    with pytest.raises(RuntimeError) if fails else torch.enable_grad(), mode(net):
        assert not any(m.training for m in net.modules())
        if fails:
            raise RuntimeError
    assert state(net) == before


def test_what_each_allows(net):
    x = torch.ones(3, 2)
    with torch.inference_mode():
        with resting(net):
            assert not net(x).requires_grad
        with attacking(net):
            x = torch.ones(3, 2, requires_grad=True)
            assert net(x).requires_grad
            assert not any(p.requires_grad for p in net.parameters())
    with evaluating(net):
        assert net(torch.ones(3, 2)).requires_grad


def test_a_plain_function_is_left_alone():
    for mode in (evaluating, resting, attacking):
        with mode(torch.relu):
            pass
