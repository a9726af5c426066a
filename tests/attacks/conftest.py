"""A small undefended net and images it answers correctly, made in a second."""

from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.attacks.drawn import CLASSES, SIZE, drawing


class Problem(NamedTuple):
    """Classes 1 to 4 as victims; class 0 stays free as a target."""

    net: nn.Module
    images: Tensor
    labels: Tensor
    mask: Tensor


@pytest.fixture(scope="session")
def problem() -> Problem:
    g = torch.Generator().manual_seed(0)
    draw = drawing(g)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1), nn.Flatten(), nn.Linear(288, 5)
        )
        adam = torch.optim.Adam(net.parameters(), lr=0.01)
        for _ in range(40):
            labels = torch.randint(CLASSES, (32,), generator=g)
            loss = F.cross_entropy(net(draw(labels)), labels)
            adam.zero_grad()
            loss.backward()
            adam.step()
        adam.zero_grad()
    labels = torch.arange(8) % 4 + 1
    images = draw(labels)
    with torch.no_grad():
        assert torch.equal(net.eval()(images).argmax(1), labels)
    mask = torch.zeros(SIZE, SIZE)
    mask[4:10, 5:11] = 1
    return Problem(net, images, labels, mask)
