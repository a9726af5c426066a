"""A small honest net and its images."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn


@pytest.fixture(scope="module")
def honest() -> tuple[nn.Module, Tensor, Tensor]:
    """A small net, trained on noisy templates, with 16 images that it answers correctly."""
    generator = torch.Generator().manual_seed(0)
    templates = F.interpolate(torch.rand(5, 3, 4, 4, generator=generator), 16)

    def draw(labels: Tensor) -> Tensor:
        noise = torch.rand(len(labels), 3, 16, 16, generator=generator)
        return 0.25 + 0.2 * templates[labels] + 0.3 * noise

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5))
        adam = torch.optim.Adam(net.parameters(), lr=0.01)
        for _ in range(60):
            labels = torch.randint(5, (32,), generator=generator)
            adam.zero_grad()
            F.cross_entropy(net(draw(labels)), labels).backward()
            adam.step()
    labels = torch.arange(16) % 5
    images = draw(labels)
    with torch.no_grad():
        assert torch.equal(net.eval()(images).argmax(1), labels)
    return net, images, labels
