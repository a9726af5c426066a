"""The counts of one campaign: its metrics, target by target."""

from collections.abc import Sequence

from torch import Tensor, nn

from blurnet.evaluation.campaign import Target
from blurnet.evaluation.metrics import AttackSuccess, Dissimilarity, TargetedSuccess
from blurnet.evaluation.results import TargetResult


class Tally(nn.Module):
    """Attack success, targeted success and dissimilarity of each target, summed over processes when read.

    Args:
        targets: in the order of the campaign.
    """

    def __init__(self, targets: Sequence[Target]) -> None:
        super().__init__()
        self.targets = tuple(targets)
        size = len(self.targets)
        self.success, self.targeted = AttackSuccess(size), TargetedSuccess(size)
        self.distance = Dissimilarity(size)

    def count(self, target: Target, before: Tensor, after: Tensor, clean: Tensor, adversarial: Tensor) -> None:
        """Add all victims under one target: predictions (N,) and images (N, 3, H, W)."""
        group = self.targets.index(target)
        self.success.update(before, after, group)
        if target is not None:
            self.targeted.update(after, target, group)
        self.distance.update(clean, adversarial, group)

    def reset(self) -> None:
        """Start from zero."""
        for metric in (self.success, self.targeted, self.distance):
            metric.reset()

    def results(self) -> tuple[TargetResult, ...] | None:
        """The targets over all processes; None while one of them is missing."""
        hits, goals, far = self.success.rates(), self.targeted.rates(), self.distance.sums()
        found = [
            TargetResult(target, asr, goal, total / n)
            for target, asr, goal, (total, n) in zip(self.targets, hits, goals, far, strict=True)
            if asr is not None
        ]
        return tuple(found) if len(found) == len(self.targets) else None
