"""Losses of attacks, one value a sample."""

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Softmax cross-entropy of logits (N, classes) to labels (N,); returns (N,)."""
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Logit of the label less the largest other logit, (N,): negative where another class wins."""
    own = logits.gather(1, labels[:, None]).squeeze(1)
    others = logits.scatter(1, labels[:, None], float("-inf"))
    return own - others.amax(dim=1)


def non_printability(colors: Tensor, printable: Tensor, mask: Tensor, *, relaxed: bool = False) -> Tensor:
    """Non-printability score: how far each pixel's colour is from every printable one.

    ``sum over pixels of prod over P of |c - p|``, the product taken in log space, since thirty distances below
    one vanish in float32; ``relaxed`` replaces the product by the smallest distance, whose gradient never vanishes.

    Args:
        colors: (N, 3, H, W), printed colours in [0, 1].
        printable: (P, 3), printable colours in [0, 1].
        mask: broadcastable to (N, 1, H, W); only its pixels count.
        relaxed: smallest distance in place of the product.

    Returns:
        (N,); 0 exactly where every pixel has a printable colour.

    Source: Sharif et al. 2016; RP2 (Eykholt et al. 2018) and its code.
    """
    difference = colors[:, None] - printable.to(colors)[None, :, :, None, None]
    square = difference.square().sum(dim=2)  # (N, P, H, W)
    if relaxed:
        score = _safe_sqrt(square.amin(dim=1))
    else:
        # d/dx of sqrt and log are infinite at 0: where one distance is 0 the product is 0 and takes no gradient.
        zero = square.amin(dim=1) == 0
        score = torch.where(zero, 0.0, (0.5 * torch.where(square == 0, 1.0, square).log()).sum(dim=1).exp())
    return (score * mask.to(score)[:, 0]).sum(dim=(-2, -1))


def _safe_sqrt(square: Tensor) -> Tensor:
    """Square root with gradient 0 at 0."""
    positive = square > 0
    return torch.where(positive, torch.where(positive, square, 1.0).sqrt(), 0.0)
