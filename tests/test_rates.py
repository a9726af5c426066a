import pytest
import torch

from blurnet.rates import Rate


def test_the_papers_baseline():
    # 36 of 40: the exact interval of 90 % (checked against R's binom.test).
    rate = Rate.of(36, 40)
    assert (rate.value, rate.fraction) == (90.0, 0.9)
    assert rate.as_dict() == {"value": 90.0, "n": 40, "count": 36, "low": 76.34, "high": 97.21}


@pytest.mark.parametrize(("count", "low", "high"), [(0, 0.0, 100 - 100 * 0.025**0.1), (10, 100 * 0.025**0.1, 100.0)])
def test_ends_have_their_closed_form(count, low, high):
    rate = Rate.of(count, 10)
    assert (rate.low, rate.high) == pytest.approx((low, high), abs=0.005)


def test_interval_covers_and_narrows():
    small, large = Rate.of(5, 10), Rate.of(500, 1000)
    assert small.low < large.low < 50 < large.high < small.high


@pytest.mark.parametrize(("count", "n"), [(1, 0), (-1, 4), (5, 4)])
def test_impossible_counts_are_refused(count, n):
    with pytest.raises(ValueError, match=f"count={count}, n={n}"):
        Rate.of(count, n)


def test_rates_are_values():
    assert Rate.of(1, 2) == Rate.of(1, 2)
    assert len({Rate.of(1, 2), Rate.of(1, 2)}) == 1


def test_trials_of_known_groups_are_no_more_than_the_groups():
    """17 targets of 40 victims: as wide as 40 trials, with ends rounded outwards, and never narrower than 680."""
    rate = Rate.pooled(144, 680, 40)  # 8.47 of 40
    assert (rate.value, rate.n, rate.count, rate.groups) == (21.18, 680, 144, 40)
    assert (rate.low, rate.high) == (Rate.of(8, 40).low, Rate.of(9, 40).high)
    assert rate.low < Rate.of(144, 680).low < Rate.of(144, 680).high < rate.high
    assert Rate.pooled(0, 680, 40).high == Rate.of(0, 40).high
    for groups in (0, 681):
        with pytest.raises(ValueError, match=f"1 to 680 groups, got groups={groups}"):
            Rate.pooled(144, 680, groups)


def test_frames_of_one_track_are_resampled_together():
    """Tracks of ten equal frames: the interval is that of the tracks, more than three times as wide as of frames."""
    tracks = torch.rand(60, generator=torch.Generator().manual_seed(0)) < 0.8
    flags, groups = tracks.repeat_interleave(10), torch.arange(60).repeat_interleave(10).tolist()
    alone, together, few = Rate.over(flags), Rate.over(flags, groups), Rate.of(int(tracks.sum()), 60)
    assert (together.value, together.n, together.groups, alone.groups) == (alone.value, 600, 60, None)
    assert (together.low, together.high) == pytest.approx((few.low, few.high), abs=3)
    assert together.high - together.low > 2.5 * (alone.high - alone.low)
    assert "n = 600 in 60 groups" in str(together)


def test_an_interval_over_groups_repeats_and_does_not_vanish():
    groups = [0, 0, 1, 1, 2, 2]
    assert Rate.over(torch.ones(6).bool(), groups) == Rate(100.0, 6, 6, Rate.of(3, 3).low, 100.0, 3)
    flags = torch.tensor([1, 0, 1, 1, 0, 0]).bool()
    assert Rate.over(flags, groups) == Rate.over(flags, groups)


def test_one_group_is_one_trial():
    assert Rate.over(torch.tensor([True, False, True, False]), "aaaa") == Rate.pooled(2, 4, 1)


def test_groups_of_one_are_no_groups():
    flags = torch.tensor([1, 0, 1]).bool()
    assert Rate.over(flags, ["a", "b", "c"]) == Rate.of(2, 3)


def test_the_texts_of_a_rate():
    rate = Rate.of(993, 1026)
    assert str(rate) == "96.8 % [95.5, 97.8], n = 1,026"
    assert (rate.percent, rate.interval, rate.short) == ("96.8 %", "95.5-97.8", "96.8 (95.5-97.8)")
    assert rate.trials == "n = 1,026"
    assert Rate.over(torch.tensor([True, False, True]), "aab").trials == "n = 3 in 2 groups"
