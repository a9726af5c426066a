"""The bare minimum that each benchmark compares with: plain PyTorch loops without any of our code."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def bare_rp2(net: nn.Module, images: Tensor, mask: Tensor, targets: Tensor, steps: int) -> Tensor:
    """Forward, backward and Adam on one noise a target, side by side; the least an RP2 can do."""
    count, n = len(targets), len(images)
    noise = torch.rand(count, 3, *images.shape[-2:], requires_grad=True)
    adam = torch.optim.Adam([noise], lr=0.1)
    goals = targets.repeat_interleave(n)
    for _ in range(steps):
        adversarial = (images + (noise * mask)[:, None]).flatten(0, 1).clamp(0, 1)
        loss = F.cross_entropy(net(adversarial), goals) * count
        loss = loss + 0.02 * (noise * mask).flatten(1).norm(dim=1).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return noise.detach()


def bare_epoch(net: nn.Module, batches: list[tuple[Tensor, Tensor]], optimizer: torch.optim.Optimizer) -> None:
    """One pass over batches: forward, backward, step."""
    net.train()
    for images, labels in batches:
        loss = F.cross_entropy(net(images.contiguous(memory_format=torch.channels_last)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def bare_pgd_epoch(
    net: nn.Module,
    batches: list[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    radius: float,
    steps: int,
    step_size: float,
) -> None:
    """One pass of PGD adversarial training: attack in evaluation mode, then forward, backward, step."""
    for images, labels in batches:
        images = images.contiguous(memory_format=torch.channels_last)
        net.eval()
        x = (images + torch.empty_like(images).uniform_(-radius, radius)).clamp_(0, 1)
        for _ in range(steps):
            x.requires_grad_()
            (gradient,) = torch.autograd.grad(F.cross_entropy(net(x), labels), x)
            x = x.detach() + step_size * gradient.sign()
            x = images + (x - images).clamp_(-radius, radius)
            x = x.clamp_(0, 1)
        net.train()
        loss = F.cross_entropy(net(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
