"""Which class a targeted attack reaches for: a rule on the clean logits, or a given class."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from blurnet.bounds import Count
from blurnet.masks import content_hash
from blurnet.strict import check_fields

#: The most likely wrong class, the least likely wrong one, or any wrong one by chance.
Rule = Literal["second", "least-likely", "random"]
RULES: tuple[str, ...] = get_args(Rule)


@dataclass(frozen=True)
class Rank:
    """The k-th most likely wrong class of the clean image: ``Rank(1)`` is "second"; past the last, the least likely.

    Raises:
        ValueError: k below 1.
    """

    k: Count

    def __post_init__(self) -> None:
        check_fields(self)


#: How attacks name a target: a class, a rule, a rank, or None for untargeted.
Target = int | Rule | Rank | None


def choose_targets(
    rule_or_class: Rule | Rank | int | Tensor | None,
    logits: Tensor,
    labels: Tensor,
    *,
    seed: int = 0,
    images: Tensor | None = None,
    name: str = "target",
) -> Tensor | None:
    """The class each image is pulled to, (N,) int64; never its label.

    Args:
        rule_or_class: a rule, a rank, one class for all images, a class for each image (N,), or None for untargeted.
        logits: of the clean images, (N, classes).
        labels: true classes (N,).
        seed: of "random".
        images: (N, C, H, W) in [0, 1], for "random": a target follows from the image's own pixels (at 8 bits) and
            the seed, so that an image has the same one in every batch, order, precision and device.
        name: how messages call the target.

    Returns:
        Targets (N,), or None for untargeted.

    Raises:
        ValueError: unknown rule, a class out of range or equal to the label of some image, fewer than two classes,
            or "random" without images.
    """
    if rule_or_class is None:
        return None
    classes = logits.shape[1]
    if classes < 2:
        raise ValueError(f"{name}: needs at least 2 classes, got {classes}")
    if isinstance(rule_or_class, Rank):
        wrong = logits.detach().scatter(1, labels[:, None], float("-inf"))
        return wrong.topk(min(rule_or_class.k, classes - 1), dim=1).indices[:, -1]
    if isinstance(rule_or_class, str):
        return _by_rule(rule_or_class, logits.detach(), labels, seed, images, name)
    given = torch.as_tensor(rule_or_class, device=labels.device).to(torch.int64).expand_as(labels).clone()
    if bool(((given < 0) | (given >= classes)).any()):
        raise ValueError(f"{name}: expected 0 to {classes - 1}, got {_shown(rule_or_class)}")
    if bool((given == labels).any()):
        raise ValueError(f"{name}: {_shown(rule_or_class)} is the true class of some images; choose another")
    return given


def _by_rule(rule: str, logits: Tensor, labels: Tensor, seed: int, images: Tensor | None, name: str) -> Tensor:
    """Targets (N,) by a rule's name."""
    if rule == "second":
        return logits.scatter(1, labels[:, None], float("-inf")).argmax(dim=1)
    if rule == "least-likely":
        return logits.scatter(1, labels[:, None], float("inf")).argmin(dim=1)
    if rule != "random":
        raise ValueError(f"{name}: expected a class, {', '.join(map(repr, RULES))} or None, got {rule!r}")
    if images is None:
        raise ValueError(f"{name}: 'random' draws from each image's content; pass images")
    drawn = content_hash(images, seed) % (logits.shape[1] - 1)
    return drawn + (drawn >= labels)  # the label is left out, so that the wrong classes are equally likely


def _shown(target: int | Tensor) -> str:
    return str(target.tolist()) if isinstance(target, Tensor) else str(target)
