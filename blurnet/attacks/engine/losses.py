"""Losses of attacks, one value a sample."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.checks import one_of


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Softmax cross-entropy of logits (N, classes) to labels (N,); returns (N,)."""
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Logit of the label less the largest other logit, (N,): negative where another class wins."""
    own = logits.gather(1, labels[:, None]).squeeze(1)
    others = logits.scatter(1, labels[:, None], float("-inf"))
    return own - others.amax(dim=1)


def dlr(logits: Tensor, labels: Tensor, targets: Tensor | None = None) -> Tensor:
    """Difference of logits ratio, (N,), to be maximised: unlike a margin it does not depend on the logits' scale.

    Untargeted ``-(z_y - max_{i != y} z_i) / (z_(1) - z_(3))``; towards targets
    ``-(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2)``, with z_(k) the k-th largest logit.

    Args:
        logits: (N, classes); at least 3 classes, 4 with targets.
        labels: true classes (N,).
        targets: classes to reach (N,), or None.

    Raises:
        ValueError: too few classes.

    Source: Croce and Hein 2020 (AutoAttack), Eq. 6 and 7, with its 1e-12 in the denominator.
    """
    needed = 3 if targets is None else 4
    if logits.shape[1] < needed:
        raise ValueError(f"dlr: needs at least {needed} classes, got {logits.shape[1]}; use 'margin'")
    top = logits.topk(needed, dim=1).values
    if targets is None:
        return -margin(logits, labels) / (top[:, 0] - top[:, 2] + 1e-12)
    lead = (logits.gather(1, targets[:, None]) - logits.gather(1, labels[:, None])).squeeze(1)
    return lead / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12)


Loss = Literal["cross-entropy", "margin", "dlr"]


def _cross_entropy(logits: Tensor, labels: Tensor, targets: Tensor | None) -> Tensor:
    return cross_entropy(logits, labels) if targets is None else -cross_entropy(logits, targets)


def _margin(logits: Tensor, labels: Tensor, targets: Tensor | None) -> Tensor:
    return -margin(logits, labels) if targets is None else margin(logits, targets)


#: What an attacker maximises, by name: logits (N, classes), labels (N,) and targets (N,) or None to (N,).
LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "cross-entropy": _cross_entropy,
    "margin": _margin,
    "dlr": dlr,
}


def objective(name: str, logits: Tensor, labels: Tensor, targets: Tensor | None = None) -> Tensor:
    """The loss called ``name``, to be maximised by the attacker, (N,).

    "margin" is positive exactly where the attack has succeeded; "cross-entropy" and "dlr" order images otherwise.

    Args:
        name: a key of :data:`LOSSES`.
        logits: (N, classes).
        labels: true classes (N,); untargeted, the attacker flees from them.
        targets: classes to reach (N,), or None for untargeted.

    Raises:
        ValueError: unknown name, or too few classes for "dlr".
    """
    return LOSSES[one_of(name, LOSSES, "objective")](logits, labels, targets)


def succeeded(logits: Tensor, labels: Tensor, targets: Tensor | None = None) -> Tensor:
    """Where the attack has won, (N,) bool: another answer than the label, or with targets the target."""
    answers = logits.detach().argmax(dim=1)
    return answers != labels if targets is None else answers == targets


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
