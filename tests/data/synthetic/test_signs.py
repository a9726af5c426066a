"""Painted signs."""

import itertools

import pytest

from blurnet.data.labels import LISA_CLASSES
from blurnet.data.synthetic.shapes import canvas, coverage, polygon
from blurnet.data.synthetic.sheet import PAINTS
from blurnet.data.synthetic.signs import atlas, outlines, painted


def test_every_sign_differs_from_every_other() -> None:
    signs = atlas(48)
    assert signs.shape == (17, 3, len(PAINTS), 48, 48)
    for a, b in itertools.combinations(range(17), 2):
        assert (signs[a] - signs[b]).abs().amax((1, 2, 3)).min() > 0.5, (LISA_CLASSES[a], LISA_CLASSES[b])


def test_paint_shares_make_up_the_plate() -> None:
    total = atlas(48).sum(2)
    assert total.min() >= 0
    assert total.max() <= 1 + 1e-5
    for name, corners, plate in zip(LISA_CLASSES, outlines(), total[:, 0], strict=True):
        expected = coverage(polygon(canvas(48), [(float(x), float(y)) for x, y in corners]))
        assert (plate - expected).abs().mean() < 0.035, name


def test_painted_refuses_unknown_signs() -> None:
    with pytest.raises(ValueError, match=r"unknown sign 'halt'; there are addedLane"):
        painted("halt", 0, 32)
    with pytest.raises(ValueError, match=r"variant must be in 0\.\.2, got 3"):
        painted("stop", 3, 32)
