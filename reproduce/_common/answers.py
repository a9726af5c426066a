"""What a net says of images, without a gradient, and which of its answers are correct, with and without attack."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from blurnet.attacks.base import Attack
from blurnet.evaluation.images import Pool
from reproduce._common.marks import marks


def logits(net: nn.Module, images: Tensor) -> Tensor:
    """Logits (N, classes) without a gradient."""
    with torch.no_grad():
        result: Tensor = net(images)
    return result


def answers(net: nn.Module, images: Tensor) -> Tensor:
    """Predicted classes (N,)."""
    return logits(net, images).argmax(dim=1)


def correct(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Where the net answers with the label, (N,) bool."""
    return answers(net, images) == labels


def correct_under(net: nn.Module, attack: Attack, images: Tensor, labels: Tensor) -> Tensor:
    """Where the net answers with the label, both without and under attack, (N,) bool."""
    standing = correct(net, images, labels)
    if bool(standing.any()):
        chosen = standing.nonzero().squeeze(1)
        standing[chosen] = correct(net, attack(net, images[chosen], labels[chosen]), labels[chosen])
    return standing


def batched(pool: Pool, device: str, look: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Marks of a pool's images: what ``look(images, labels)`` says of each, (N,) bool, shard by shard."""
    found = []
    for shard in range(pool.shards):
        images, labels = pool.read(pool.places(shard))
        found.append(marks(look(images.to(device), labels.to(device))))
    return "".join(found)
