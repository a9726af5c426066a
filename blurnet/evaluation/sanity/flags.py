"""Warnings of the sanity checks, and when a count is enough for one."""

import math
from dataclasses import dataclass

from blurnet.strict import JSON

#: An honest net may fail a comparison on this share of images by chance: attacks of few steps are no optima.
HONEST = 0.1

#: How improbable a count must be for an honest net before a flag is raised.
LEVEL = 0.001


@dataclass(frozen=True)
class Flag:
    """One reason to doubt a robustness figure.

    Args:
        name: the check that raised it.
        cause: what it may come from.
        cure: what to do.
        evidence: what was seen, plain data.
    """

    name: str
    cause: str
    cure: str
    evidence: dict[str, JSON]


def unlikely(count: int, n: int, share: float = HONEST, level: float = LEVEL) -> bool:
    """Whether ``count`` of n images is more than chance: P(Binomial(n, share) >= count) < level.

    With the defaults it takes 10 of 32 images, 7 of 16 or 5 of 8. A net that fails a comparison on a tenth of its
    images is flagged less than once in a thousand times. One whose gradient is of no use fails on half of them or
    more, and is flagged at least 98 times in a hundred with 32 images, 77 with 16 and 36 with 8.
    """
    tail = sum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(count, n + 1))
    return tail < level


def at_least(n: int) -> int:
    """The smallest count of n images that is :func:`unlikely`; n + 1 where none is."""
    return next((count for count in range(n + 1) if unlikely(count, n)), n + 1)
