"""Saliency: plain and guided gradients, and a net that is left as it was."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from blurnet.transforms.watermark.saliency import saliency


class Functional(nn.Module):
    """The same net as :func:`modules` with ReLU called as a function."""

    def __init__(self, net: nn.Sequential) -> None:
        super().__init__()
        self.first, self.last = net[0], net[2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(F.relu(self.first(x))).mean((-2, -1))


def modules(relu: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), relu, nn.Conv2d(6, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def scaled(gradient: torch.Tensor) -> torch.Tensor:
    size = gradient.abs().amax(1, keepdim=True)
    return size / size.amax((-2, -1), keepdim=True)


def test_plain_is_autograds_gradient(noise):
    net, x = modules(nn.ReLU()), noise.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(x).amax(1).sum(), x)
    torch.testing.assert_close(saliency(net, noise, guided=False), scaled(gradient))


def test_guided_stops_negative_gradients(noise):
    net = modules(nn.ReLU())
    hidden = net[0](noise).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(net[2:](hidden.relu()).amax(1).sum(), hidden)
    # The gradient that reaches ReLU's output, only its positive part, only where the ReLU is open.
    seed = hidden.detach().relu().requires_grad_()
    (reaching,) = torch.autograd.grad(net[2:](seed).amax(1).sum(), seed)
    through = reaching.clamp(min=0) * (hidden > 0)
    x = noise.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(net[0](x), x, through)
    assert not torch.equal(through, gradient)
    torch.testing.assert_close(saliency(net, noise), scaled(wanted))


@pytest.mark.parametrize("relu", [nn.ReLU(inplace=True), nn.ReLU6(), nn.Hardtanh(0, 100)], ids=repr)
def test_every_way_to_call_it_is_guided(noise, relu):
    torch.testing.assert_close(saliency(modules(relu), noise), saliency(modules(nn.ReLU()), noise))
    torch.testing.assert_close(saliency(Functional(modules(nn.ReLU())), noise), saliency(modules(nn.ReLU()), noise))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_leaves_the_net_alone_in_any_mode(noise, mode):
    net = nn.Sequential(*modules(nn.ReLU()), nn.Dropout(0.5)).train()
    net[0].eval()
    modes = [module.training for module in net.modules()]
    wanted = saliency(net, noise)
    with mode():
        assert torch.equal(saliency(net, noise.clone()), wanted)
    assert [module.training for module in net.modules()] == modes
    assert all(p.grad is None for p in net.parameters())
    assert not wanted.requires_grad


def test_no_gradient_is_no_saliency(noise):
    net = modules(nn.ReLU())
    nn.init.zeros_(net[2].weight)
    assert torch.equal(saliency(net, noise), torch.zeros(2, 1, 20, 31))
