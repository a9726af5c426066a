"""When a count is enough for a flag."""

from blurnet.evaluation.sanity.flags import Flag, at_least, unlikely


def test_chance():
    """10 of 32 is rarer than once in a thousand at one in ten; 9 is not."""
    assert unlikely(10, 32)
    assert not unlikely(9, 32)
    assert [at_least(n) for n in (1, 8, 16, 32)] == [2, 5, 7, 10]
    assert not unlikely(0, 5)
    assert Flag("a", "b", "c", {}) == Flag("a", "b", "c", {})
