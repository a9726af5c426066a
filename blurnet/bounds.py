"""Ranges of numbers as annotations: ``lr: Annotated[float, above(0)]``, held by ``strict.check_fields``."""

import math
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Bounds:
    """A range of finite numbers, an annotation: ``lr: Annotated[float, above(0)]``; ``text`` says it in messages."""

    text: str
    low: float
    high: float = math.inf
    open: bool = False  #: whether ``low`` itself is left out
    odd: bool = False  #: whether even numbers are left out

    def __repr__(self) -> str:
        return self.text

    def hold(self, value: float) -> bool:
        """Whether a number lies in the range; NaN and infinities lie in none."""
        above = value > self.low if self.open else value >= self.low
        return above and value <= self.high and math.isfinite(value) and not (self.odd and value % 2 == 0)


def at_least(low: float) -> Bounds:
    """Numbers from ``low``."""
    return Bounds(f"from {low:g}", low)


def above(low: float) -> Bounds:
    """Numbers above ``low``; above 0, "a positive number"."""
    return Bounds("a positive number" if low == 0 else f"above {low:g}", low, open=True)


def between(low: float, high: float) -> Bounds:
    """Numbers in [low, high]."""
    return Bounds(f"in [{low:g}, {high:g}]", low, high)


Count = Annotated[int, at_least(1)]
Steps = Annotated[int, at_least(0)]
#: The side of a window that has a middle.
Odd = Annotated[int, Bounds("a positive odd integer", 1, odd=True)]
Positive = Annotated[float, above(0)]
NotNegative = Annotated[float, at_least(0)]
#: A share of something that is there, in (0, 1].
Share = Annotated[float, Bounds("a share in (0, 1]", 0, 1, open=True)]
#: A share that may be nothing, in [0, 1].
Fraction = Annotated[float, between(0, 1)]
