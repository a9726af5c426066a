"""Ranges of numbers: what they hold, and how messages say them."""

import math
from typing import get_args

import pytest

from blurnet.bounds import Bounds, Count, Fraction, NotNegative, Odd, Positive, Share, Steps, above, at_least, between


def range_of(annotation: object) -> Bounds:
    return get_args(annotation)[1]


@pytest.mark.parametrize(
    ("bounds", "text", "inside", "outside"),
    [
        (at_least(-2), "from -2", [-2, 0, 1e300], [-2.001]),
        (above(0), "a positive number", [5e-324, 3], [0, -1]),
        (above(2.5), "above 2.5", [2.51], [2.5, 2]),
        (between(-1, 1), "in [-1, 1]", [-1, 0.5, 1], [-1.001, 1.001]),
        (range_of(Count), "from 1", [1, 2], [0, -1]),
        (range_of(Steps), "from 0", [0, 1], [-1]),
        (range_of(Odd), "a positive odd integer", [1, 3, 101], [0, 2, -1, 100]),
        (range_of(Positive), "a positive number", [0.1], [0.0]),
        (range_of(NotNegative), "from 0", [0.0, 7.5], [-1e-9]),
        (range_of(Share), "a share in (0, 1]", [1e-9, 1], [0, 1.001]),
        (range_of(Fraction), "in [0, 1]", [0, 1], [-1e-9, 1.001]),
    ],
    ids=repr,
)
def test_what_a_range_holds(bounds, text, inside, outside):
    assert repr(bounds) == text
    assert all(bounds.hold(value) for value in inside)
    assert not any(bounds.hold(value) for value in [*outside, math.nan, math.inf, -math.inf])
