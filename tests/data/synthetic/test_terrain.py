"""Ground of maps: heights, contour lines, curves."""

import numpy as np
import pytest

from blurnet.data.synthetic.terrain import contours, crossing, dashes, heights, smooth, tinted


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_heights_are_smooth_and_fill_the_range(rng) -> None:
    ground = heights(rng, (90, 120), 60)
    assert (ground.shape, ground.dtype) == ((90, 120), np.float32)
    assert (ground.min(), ground.max()) == (0, 1)
    assert abs(np.diff(ground, axis=0)).max() < 0.15
    rough = heights(np.random.default_rng(0), (90, 120), 15)
    assert abs(np.diff(rough, axis=1)).mean() > 2 * abs(np.diff(ground, axis=1)).mean()


def test_tints_go_from_low_to_high() -> None:
    colours = np.array([[0, 0, 0], [1, 2, 3], [9, 9, 9]], np.float32)
    found = tinted(np.array([[0.0, 0.4, 0.7, 1.0]], np.float32), colours)
    np.testing.assert_array_equal(found, colours[[0, 1, 2, 2]][None])


def test_contours_of_a_slope_are_evenly_spaced_lines() -> None:
    ground = np.tile(np.linspace(0, 0.999, 200, dtype=np.float32), (4, 1))
    thin, thick = contours(ground, 10)
    assert (thin == thin[:1]).all()
    starts = np.flatnonzero(np.diff(thin[0].astype(int)) == 1)
    assert len(starts) == 9
    np.testing.assert_allclose(np.diff(starts), 20, atol=1)
    assert thin[0].sum() == 9 * 2
    assert thick[0].sum() == 2 * 4


def test_flat_ground_has_no_contours() -> None:
    thin, thick = contours(np.full((8, 8), 0.5, np.float32), 10)
    assert not thin.any()
    assert not thick.any()


def test_curves_cross_the_map(rng) -> None:
    for _ in range(20):
        path = crossing(rng, (100, 200), 0.05)
        outside = (path < 0).any(1) | (path > (200, 100)).any(1)
        assert outside[0]
        assert outside[-1]
        assert not outside.all()
        assert np.hypot(*np.diff(path, axis=0).T).max() < 30


def test_smoothing_keeps_the_ends_and_cuts_the_corners() -> None:
    corner = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    curve = smooth(corner)
    np.testing.assert_array_equal(curve[[0, -1]], corner[[0, -1]])
    assert np.hypot(*(curve - corner[1]).T).min() > 0.15


def test_dashes_are_every_second_piece() -> None:
    line = np.stack([np.arange(101), np.zeros(101)], 1).astype(np.float32)
    parts = dashes(line, 10)
    assert len(parts) == 5
    assert [part[0, 0] for part in parts] == [0, 20, 40, 60, 80]
    assert all(9 <= np.ptp(part[:, 0]) <= 10 for part in parts)
