"""Rates with their binomial confidence intervals."""

from dataclasses import dataclass
from functools import cached_property

from scipy.stats import binomtest

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rate:
    """``count`` successes in ``n`` trials, with the exact (Clopper-Pearson) 95 % interval.

    The interval is exact where trials are independent: for pooled targets over the same images, which are
    not, it is a lower bound of the uncertainty. Raises ValueError unless 0 <= count <= n and n >= 1.
    """

    count: int
    n: int

    def __post_init__(self) -> None:
        if self.n < 1 or not 0 <= self.count <= self.n:
            raise ValueError(f"a rate needs n >= 1 and 0 <= count <= n, got count={self.count}, n={self.n}")

    @property
    def value(self) -> float:
        """The fraction count / n."""
        return self.count / self.n

    @property
    def low(self) -> float:
        """Lower end of the interval, a fraction."""
        return self._interval[0]

    @property
    def high(self) -> float:
        """Upper end of the interval, a fraction."""
        return self._interval[1]

    def as_dict(self) -> dict[str, float | int]:
        """For reports: value, low and high in percent, rounded to 0.01, and the counts."""
        value, low, high = (round(100 * rate, 2) for rate in (self.value, self.low, self.high))
        return {"value": value, "n": self.n, "count": self.count, "low": low, "high": high}

    @cached_property
    def _interval(self) -> tuple[float, float]:
        interval = binomtest(self.count, self.n).proportion_ci(CONFIDENCE, method="exact")
        return float(interval.low), float(interval.high)
