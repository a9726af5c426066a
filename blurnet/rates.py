"""Rates with 95 % confidence intervals that respect what repeats: frames of one track are resampled together."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor

CONFIDENCE = 0.95
RESAMPLES = 2000  #: of the groups, for an interval


@dataclass(frozen=True)
class Rate:
    """``count`` of ``n``, in percent, with a 95 % interval; what reports and cards hold, to 0.01.

    Make it with :meth:`of`, :meth:`over` or :meth:`pooled`.

    Args:
        value: 100 count / n.
        n: trials. count: successes.
        low, high: the interval, in percent: exact (Clopper-Pearson) where trials are independent, else a bootstrap
            over ``groups``.
        groups: number of groups (tracks) that were resampled together; None where each trial stands for itself.

    Raises:
        ValueError: n below 1, or a value that is not count / n.
    """

    value: float
    n: int
    count: int
    low: float
    high: float
    groups: int | None = None

    def __post_init__(self) -> None:
        _check_counts(self.count, self.n)
        if abs(self.value - 100 * self.count / self.n) > 0.01:
            raise ValueError(f"a rate of {self.count} in {self.n} is not {self.value} %")

    @classmethod
    def of(cls, count: int, n: int) -> "Rate":
        """``count`` successes in ``n`` independent trials."""
        _check_counts(count, n)
        low, high = _binomial(count, n)
        return cls(_percent(count / n), n, count, _percent(low), _percent(high))

    @classmethod
    def over(cls, flags: Tensor, groups: Sequence[Any] | None = None) -> "Rate":
        """The share of true entries.

        Args:
            flags: (n,) bool, n at least 1.
            groups: what each entry belongs to, n labels of any kind, such as tracks; entries of one group are
                resampled together. None: all stand for themselves.
        """
        count, n = int(flags.sum()), len(flags)
        if groups is None or len(set(groups)) == n:
            return cls.of(count, n)
        if len(set(groups)) == 1:  # nothing to resample
            return cls.pooled(count, n, 1)
        counts, sizes = _by_group(flags.tolist(), groups)
        low, high = _clustered(tuple(counts), tuple(sizes))
        return cls(_percent(count / n), n, count, _percent(low), _percent(high), len(counts))

    @classmethod
    def pooled(cls, count: int, n: int, groups: int) -> "Rate":
        """``count`` successes in ``n`` trials of which only the number of groups is known.

        The interval is that of ``groups`` trials, as wide as it can honestly be: as if the trials of a group agreed.
        """
        if not 1 <= groups <= n:
            raise ValueError(f"n = {n} trials come in 1 to {n} groups, got groups={groups}")
        rate = cls.of(count, n)
        low, _ = _binomial(math.floor(rate.fraction * groups), groups)
        _, high = _binomial(math.ceil(rate.fraction * groups), groups)
        return dataclasses.replace(rate, low=_percent(low), high=_percent(high), groups=groups)

    def as_dict(self) -> dict[str, float | int]:
        """For JSON: the fields, ``groups`` where there are any."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    @property
    def fraction(self) -> float:
        """count / n."""
        return self.count / self.n

    @property
    def trials(self) -> str:
        """ "n = 1,026", or "n = 1,026 in 78 groups"."""
        return f"n = {self.n:,}" + ("" if self.groups is None else f" in {self.groups:,} groups")

    @property
    def percent(self) -> str:
        """ "96.8 %"."""
        return f"{self.value:.1f} %"

    @property
    def interval(self) -> str:
        """ "95.5-97.8"."""
        return f"{self.low:.1f}-{self.high:.1f}"

    @property
    def short(self) -> str:
        """ "96.8 (95.5-97.8)", for cells."""
        return f"{self.value:.1f} ({self.interval})"

    def __str__(self) -> str:
        """ "96.8 % [95.5, 97.8], n = 1,026"."""
        return f"{self.percent} [{self.low:.1f}, {self.high:.1f}], {self.trials}"


def _check_counts(count: int, n: int) -> None:
    if n < 1 or not 0 <= count <= n:
        raise ValueError(f"a rate needs n >= 1 and 0 <= count <= n, got count={count}, n={n}")


def _percent(share: float) -> float:
    return round(100 * share, 2)


@cache
def _binomial(count: int, n: int) -> tuple[float, float]:
    from scipy.stats import binomtest  # takes longer to import than the rest of the package

    interval = binomtest(count, n).proportion_ci(CONFIDENCE, method="exact")
    return float(interval.low), float(interval.high)


def _by_group(flags: Sequence[bool], groups: Sequence[Any]) -> tuple[list[int], list[int]]:
    """Successes and trials of each group, in order of first appearance."""
    found: dict[Any, list[bool]] = {}
    for flag, group in zip(flags, groups, strict=True):
        found.setdefault(group, []).append(flag)
    return [sum(members) for members in found.values()], [len(members) for members in found.values()]


@cache
def _clustered(counts: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[float, float]:
    """Percentile bootstrap of the pooled rate over groups; where no group differs, binomial over groups.

    Source: Cameron, Gelbach and Miller 2008 on resampling whole clusters.
    """
    import numpy as np
    from scipy.stats import bootstrap

    if sum(counts) in (0, sum(sizes)):  # nothing varies: each group is one trial, which is the widest honest reading
        return _binomial(0 if sum(counts) == 0 else len(counts), len(counts))

    def pooled(successes: Any, trials: Any, axis: int) -> Any:
        return successes.sum(axis=axis) / trials.sum(axis=axis)

    found = bootstrap(
        (np.array(counts), np.array(sizes)), pooled, paired=True, vectorized=True, method="percentile",
        n_resamples=RESAMPLES, confidence_level=CONFIDENCE, rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
