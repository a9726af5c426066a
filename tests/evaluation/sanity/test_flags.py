"""When a count is enough for a flag."""

import pytest
from scipy.stats import binom

from blurnet.evaluation.sanity.flags import Flag, at_least, unlikely


def test_chance():
    """10 of 32 is rarer than once in a thousand at one in ten; 9 is not."""
    assert unlikely(10, 32)
    assert not unlikely(9, 32)
    assert [at_least(n) for n in (1, 8, 16, 32)] == [2, 5, 7, 10]
    assert not unlikely(0, 5)
    assert Flag("a", "b", "c", {}) == Flag("a", "b", "c", {})


@pytest.mark.parametrize("n", [1, 5, 8, 16, 32])
def test_chance_is_scipys_binomial(n):
    for count in range(n + 1):
        assert unlikely(count, n) == (binom.sf(count - 1, n, 0.1) < 0.001)
    assert not unlikely(at_least(n) - 1, n)
    assert at_least(n) > n or unlikely(at_least(n), n)


@pytest.mark.parametrize(("n", "share"), [(32, 0.98), (16, 0.77), (8, 0.36)])
def test_a_useless_gradient_is_flagged_as_often_as_stated(n, share):
    """It fails on half of the images."""
    assert share < binom.sf(at_least(n) - 1, n, 0.5) < share + 0.015
