"""The attack inside a training step: the net as its attacker sees it, and ascent in an L-infinity ball.

Leaner than :class:`~blurnet.attacks.ball.pgd.PGD`: no look at the clean image, no best point, nothing that waits for
the device; the last point is the result, as adversarial training has it.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from blurnet.attacks.engine.targets import choose_targets
from blurnet.modes import attacking, resting
from blurnet.transforms.base import adaptive

#: Logits (N, classes) to what the attacker climbs, a scalar that is a sum over images.
Value = Callable[[Tensor], Tensor]

#: Where a targeted attack goes: any wrong class by chance, the least likely one, or the most likely wrong one.
Target = Literal["random", "least-likely", "second"]


class AttackedView(nn.Module):
    """A net as its attacker sees it: gradients through the surrogates of its transformations, float32 logits.

    It shares everything with the net, including train and evaluation mode.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = adaptive(net)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes), float32 under autocast too, of images (N, 3, H, W) in [0, 1]."""
        logits: Tensor = self.net(x)
        return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def ascend(
    net: nn.Module, value: Value, images: Tensor, start: Tensor, *, radius: float, steps: int, step_size: float
) -> Tensor:
    """Projected steps along the gradient's sign, in the L-infinity ball and [0, 1].

    Meanwhile the net is in evaluation mode, so that batch statistics are used as they are and do not move, and its
    parameters take no gradient; modes and gradients are restored, whatever happens.

    Args:
        net: images in [0, 1] to logits; not the wrapper of a distributed strategy.
        value: what is climbed.
        images: centres of the balls, (N, 3, H, W) in [0, 1].
        start: first points, inside the balls.
        radius: of the balls, in pixel units.
        steps: number of steps; with 0 the start comes back.
        step_size: in pixel units.

    Returns:
        The last points, (N, 3, H, W) in [0, 1], detached.

    Source: Madry et al. 2018; batch normalisation as Xie et al. 2019 (their code) and Zhang et al. 2019 have it.
    """
    view = AttackedView(net)
    low, high = (images - radius).clamp_(min=0), (images + radius).clamp_(max=1)
    x = start.detach()
    with attacking(view):
        for _ in range(steps):
            x = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(value(view(x)), x)
            x = torch.add(x.detach(), gradient.sign_(), alpha=step_size).clamp_(low, high)
    return x.detach()


def uniform_start(images: Tensor, radius: float, generator: torch.Generator, clean: float = 0.0) -> Tensor:
    """Points drawn uniformly from the L-infinity balls around images, each by itself, clipped to [0, 1].

    Args:
        images: (N, 3, H, W) in [0, 1].
        radius: in pixel units.
        generator: on the images' device.
        clean: chance that the whole batch starts at the images instead (Xie et al.: 0.2).
    """
    noise = torch.empty_like(images).uniform_(-radius, radius, generator=generator)
    if clean:
        coin = torch.rand((), generator=generator, device=images.device)
        noise = noise * (coin >= clean)  # on the device: nothing waits
    return noise.add_(images).clamp_(0, 1)


def target_classes(rule: Target, net: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """The class each image is pulled to, (N,), never its label; one forward pass without gradients.

    "random" is drawn anew at each call, every wrong class alike; the other rules look at the clean logits.
    """
    view = AttackedView(net)
    with resting(view):
        logits = view(images)
    if rule == "random":
        shift = torch.randint(1, logits.shape[1], labels.shape, generator=generator, device=labels.device)
        return torch.remainder(labels + shift, logits.shape[1])
    chosen = choose_targets(rule, logits, labels)
    assert chosen is not None  # no rule is untargeted
    return chosen
