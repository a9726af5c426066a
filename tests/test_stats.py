import pytest

from blurnet.rates import Rate


def test_the_papers_baseline():
    # 36 of 40: the exact interval of 90 % (checked against R's binom.test).
    rate = Rate(36, 40)
    assert rate.value == 0.9
    assert rate.as_dict() == {"value": 90.0, "n": 40, "count": 36, "low": 76.34, "high": 97.21}


@pytest.mark.parametrize(("count", "low", "high"), [(0, 0.0, 1 - 0.025**0.1), (10, 0.025**0.1, 1.0)])
def test_ends_have_their_closed_form(count, low, high):
    rate = Rate(count, 10)
    assert (rate.low, rate.high) == pytest.approx((low, high))


def test_interval_covers_and_narrows():
    small, large = Rate(5, 10), Rate(500, 1000)
    assert small.low < large.low < 0.5 < large.high < small.high


@pytest.mark.parametrize(("count", "n"), [(1, 0), (-1, 4), (5, 4)])
def test_impossible_counts_are_refused(count, n):
    with pytest.raises(ValueError, match=f"count={count}, n={n}"):
        Rate(count, n)


def test_rates_are_values():
    assert Rate(1, 2) == Rate(1, 2)
    assert len({Rate(1, 2), Rate(1, 2)}) == 1
