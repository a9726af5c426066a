"""A sign being painted: later coats cover earlier ones."""

import pytest
import torch

from blurnet.data.synthetic.shapes import canvas, coverage, disc, polygon, stroke, text
from blurnet.data.synthetic.sheet import OCTAGON, PAINTS, SQUARE, Sheet

GRID = canvas(64)


def test_a_coat_covers_what_lies_below() -> None:
    sheet = Sheet(GRID)
    sheet.shape(SQUARE, "white")
    sheet.disc(0.1, 0, 0.5, "red")
    sheet.disc(0, 0.2, 0.3, "white")
    below, above = coverage(disc(GRID, 0.1, 0, 0.5)), coverage(disc(GRID, 0, 0.2, 0.3))
    torch.testing.assert_close(sheet.shares["red"], below * (1 - above))
    torch.testing.assert_close(sheet.shares["white"], (1 - below) * (1 - above) + above)


def test_shares_of_a_pixel_are_at_most_the_whole() -> None:
    sheet = Sheet(GRID)
    sheet.plate(OCTAGON, "red", "white")
    sheet.word("STOP", (-0.7, -0.3, 0.7, 0.3), 0.1, "white")
    total = torch.stack(list(sheet.shares.values())).sum(0)
    torch.testing.assert_close(total, coverage(polygon(GRID, OCTAGON)), rtol=0, atol=1e-5)
    assert set(sheet.shares) <= set(PAINTS)
    # Along the middle row a plate is face, rim, face from its edge inwards: the rim begins a gap of 0.04 inside.
    row = Sheet(canvas(400))
    row.plate(OCTAGON, "red", "white")
    white = row.shares["white"][200] > 0.5
    assert white.nonzero().flatten()[0] == pytest.approx(0.04 * 200, abs=1)
    assert white[:200].sum() == pytest.approx(0.05 * 200, abs=1)


def test_bold_widens_lines_and_letters() -> None:
    sheet, line, box = Sheet(GRID, bold=1.5), [(-0.5, 0.0), (0.5, 0.2)], (-0.7, -0.9, 0.7, -0.3)
    sheet.line(line, 0.1)
    sheet.word("H", box, 0.08, "red")
    torch.testing.assert_close(sheet.shares["black"], coverage(stroke(GRID, line, 0.15)))
    torch.testing.assert_close(sheet.shares["red"], coverage(text(GRID, "H", box, 0.12)))


def test_an_arrow_points_up() -> None:
    sheet = Sheet(GRID)
    sheet.up_arrow(0.0, -0.5, 0.4, 0.8)
    widths = (sheet.shares["black"] > 0.5).sum(1)
    rows = widths.nonzero().flatten()
    assert (rows[0], rows[-1]) == (pytest.approx(16, abs=2), pytest.approx(41, abs=1))
    assert (widths[rows].diff() >= 0).all()
    assert widths.max() == pytest.approx(0.8 * 32, abs=2)
