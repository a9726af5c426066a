"""Planted gradient masking, and a subject of it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from blurnet.balls import Ball
from blurnet.bpda import bpda
from blurnet.evaluation.sanity.subject import Subject
from blurnet.modes import attacking

BALL, STEPS = Ball("linf", 0.03), 10


class Defended(nn.Module):
    """A net behind a function of (net, images)."""

    def __init__(self, net: nn.Module, function: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.function = net, function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.net, x)


def quantised(net, x):
    return net((x * 16).round() / 16)


def saturated(net, x):
    return net(x) * 1000


def noisy(net, x):
    return net(x + 0.05 * torch.randn(x.shape, generator=NOISE))


def softmax(net, x):
    return net(x).softmax(1)


def _purified(x: Tensor) -> Tensor:
    with torch.enable_grad():
        clean = x.detach().clone().requires_grad_()
        for _ in range(2):
            (gradient,) = torch.autograd.grad((clean - x.detach()).square().mean() + clean.diff().abs().mean(), [clean])
            clean = (clean - 0.1 * gradient).detach().requires_grad_()
    return bpda(clean, x)


def purified(net, x):
    return net(_purified(x))


def purified_by_optimizer(net, x):
    with torch.enable_grad():
        clean = x.detach().clone().requires_grad_()
        (clean - 0.5).square().sum().backward()
        torch.optim.SGD([clean], lr=1e-3).step()
    return net(bpda(clean, x))


def trained_inside(net, x):
    with torch.no_grad():
        net[0].bias.mul_(1 + 1e-6)
    return net(x)


def shuffled(net, x):
    order = torch.randperm(x[0].numel(), generator=torch.Generator().manual_seed(0))
    return net(bpda(x, x.flatten(1)[:, order].view_as(x)))


def reversed_gradient(net, x):
    return net(bpda(x, -x))


def detached(net, x):
    return net(x.detach())


class _Refuse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("no gradient of its own")


def refusing(net, x):
    return net(_Refuse.apply(x))


NOISE = torch.Generator()
PLANTED = {
    quantised: {"zero-gradient", "noise-beats-gradient", "black-box-beats-gradient", "steps-do-not-help"},
    saturated: {"vanishing-gradient"},
    noisy: {"random-model"},
    softmax: {"probabilities"},
    purified: {"optimises-inside"},
    purified_by_optimizer: {"optimises-inside"},
    trained_inside: {"optimises-inside"},
    shuffled: {"black-box-beats-gradient"},
    reversed_gradient: {"noise-beats-gradient", "black-box-beats-gradient", "steps-do-not-help"},
    detached: {"zero-gradient", "budget-does-not-help", "unbounded-falls-short"},
    refusing: {"zero-gradient"},
}
#: Masking that leaves the gradient's direction alone raises its own flag and no other.
ALONE = (saturated, noisy, softmax, purified, purified_by_optimizer, trained_inside)


def made(model, images, labels, **settings) -> Subject:
    with attacking(model):
        return Subject.of(model, images, labels, **{"ball": BALL, "steps": STEPS, **settings})
