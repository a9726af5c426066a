"""Torchmetrics for robustness: attack success, targeted success, dissimilarity, accuracy with its count.

Each keeps integer counts (or float64 sums of whole groups), so that two processes give the numbers of one.
A group is whatever is reported on its own line, here a target of the attack.
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from blurnet.rates import Rate

Denominator = Literal["adversarial", "clean"]


def dissimilarity(clean: Tensor, adversarial: Tensor, denominator: Denominator = "adversarial") -> Tensor:
    """Relative L2 distance of each image, ``||x - x_adv||_2 / ||x_adv||_2``.

    clean, adversarial: images (N, C, H, W). Returns (N,) float32. ``denominator="clean"`` divides by
    ``||x||_2`` instead (Guo et al. 2018). Source: BlurNet (Raju & Lipasti 2020), section on metrics.
    """
    if denominator not in ("adversarial", "clean"):
        raise ValueError(f"denominator must be 'adversarial' or 'clean', got {denominator!r}")
    if clean.shape != adversarial.shape:
        raise ValueError(f"shapes differ: clean {tuple(clean.shape)}, adversarial {tuple(adversarial.shape)}")
    base = (adversarial if denominator == "adversarial" else clean).flatten(1).float().norm(dim=1)
    distance: Tensor = (clean.float() - adversarial.float()).flatten(1).norm(dim=1)
    relative: Tensor = distance / base.clamp(min=1e-12)
    return relative


class Accuracy(MulticlassAccuracy):
    """Top-1 accuracy over all images, with its count. update(logits or predictions, labels)."""

    def __init__(self, classes: int, **kwargs: Any) -> None:
        super().__init__(num_classes=classes, average="micro", **kwargs)

    def rate(self) -> Rate | None:
        """Correct answers over images in all processes; None before the first update."""
        with self.sync_context(should_sync=self._to_sync, should_unsync=True):
            correct, n = int(_tensor(self.tp).sum()), int((_tensor(self.tp) + _tensor(self.fn)).sum())
        return Rate.of(correct, n) if n else None


class _Groups(Metric):
    """A sum and a number of images for each of ``groups`` groups, added up over processes."""

    full_state_update = False
    total: Tensor
    n: Tensor

    def __init__(self, groups: int = 1, dtype: torch.dtype = torch.long, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.groups = groups
        self.add_state("total", torch.zeros(groups, dtype=dtype), dist_reduce_fx="sum")
        self.add_state("n", torch.zeros(groups, dtype=torch.long), dist_reduce_fx="sum")

    def compute(self) -> Tensor:
        """Mean of each group, (groups,), or a scalar for a single one; not a number where a group is empty."""
        return self.total.double() / self.n

    def sums(self) -> list[tuple[float, int]]:
        """Sum and number of images of each group, over all processes."""
        with self.sync_context(should_sync=self._to_sync, should_unsync=True):
            return list(zip(self.total.tolist(), self.n.tolist(), strict=True))

    def _add(self, values: Tensor, group: int) -> None:
        if not 0 <= group < self.groups:
            raise ValueError(f"group must be in 0..{self.groups - 1}, got {group}")
        self.total[group] += values.to(self.total.dtype).sum()
        self.n[group] += len(values)


class _Rates(_Groups):
    higher_is_better = True

    def rates(self) -> list[Rate | None]:
        """The rate of each group over all processes; None where a group has no image."""
        return [Rate.of(int(total), n) if n else None for total, n in self.sums()]


class AttackSuccess(_Rates):
    """Share of images whose prediction the attack changed, whatever the new label.

    update(before, after, group=0): predictions (N,) on the clean and on the attacked images.
    Source: BlurNet's ASR = (1/N) Σ 1[F(x) ≠ F(x_adv)].
    """

    def update(self, before: Tensor, after: Tensor, group: int = 0) -> None:
        """Add the images of one batch."""
        _same_length(before, after)
        self._add(before != after, group)


class TargetedSuccess(_Rates):
    """Share of images called the attack's target. update(after, target, group=0): predictions (N,)."""

    def update(self, after: Tensor, target: int, group: int = 0) -> None:
        """Add the images of one batch."""
        self._add(after == target, group)


class Dissimilarity(_Groups):
    """Mean relative L2 distance :func:`dissimilarity`. update(clean, adversarial, group=0): (N, C, H, W)."""

    higher_is_better = False

    def __init__(self, groups: int = 1, denominator: Denominator = "adversarial", **kwargs: Any) -> None:
        super().__init__(groups, torch.float64, **kwargs)
        self.denominator: Denominator = denominator

    def update(self, clean: Tensor, adversarial: Tensor, group: int = 0) -> None:
        """Add the images of one batch."""
        self._add(dissimilarity(clean, adversarial, self.denominator), group)


def _same_length(before: Tensor, after: Tensor) -> None:
    if before.shape != after.shape:
        raise ValueError(f"predictions differ in shape: {tuple(before.shape)} and {tuple(after.shape)}")


def _tensor(state: Tensor | list[Tensor]) -> Tensor:
    """A state as a tensor, which micro averages keep; torchmetrics types it as a list too."""
    return state if isinstance(state, Tensor) else torch.cat(state)
