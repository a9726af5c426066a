"""What an evaluation finds, as values."""

from dataclasses import dataclass

from blurnet.evaluation.campaign import Target
from blurnet.rates import Rate


@dataclass(frozen=True)
class TargetResult:
    """One target over all victims."""

    target: Target
    asr: Rate  #: predictions changed, whatever the new label
    targeted: Rate | None  #: predictions equal to the target; None for an untargeted run
    dissimilarity: float  #: mean relative L2 distance


@dataclass(frozen=True)
class AttackResult:
    """One campaign: its targets in order, with their average and worst case."""

    name: str
    attack: str  #: repr of the attack
    seed: int | None
    source: str | None  #: name of the model the attack was made on, None for white-box
    targets: tuple[TargetResult, ...]

    @property
    def asr(self) -> Rate:
        """Success over all targets and victims: the average over targets, since each has the same victims.

        Its interval takes the attacked images as independent; the same victims under several targets are not.
        """
        return pooled([result.asr for result in self.targets])

    @property
    def targeted(self) -> Rate | None:
        """Targeted success over all targets; None when all are untargeted."""
        rates = [result.targeted for result in self.targets if result.targeted is not None]
        return pooled(rates) if rates else None

    @property
    def dissimilarity(self) -> float:
        """Mean over targets."""
        return sum(result.dissimilarity for result in self.targets) / len(self.targets)

    @property
    def worst(self) -> TargetResult:
        """The target with the highest success, the first of equals."""
        return max(self.targets, key=lambda result: result.asr.value)


@dataclass(frozen=True)
class Results:
    """Everything :class:`blurnet.evaluation.robustness.Robustness` measured."""

    clean: Rate | None  #: accuracy on the clean test set, None when none was given
    victims_clean: Rate | None  #: accuracy on the unattacked victims, None when there are none
    attacks: tuple[AttackResult, ...]


def pooled(rates: list[Rate]) -> Rate:
    """All trials together."""
    return Rate.of(sum(rate.count for rate in rates), sum(rate.n for rate in rates))
