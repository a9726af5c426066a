"""Shapes as signed distances: their areas, their extent."""

import pytest
import torch

from blurnet.data.synthetic.shapes import canvas, coverage, disc, polygon, stroke, text
from blurnet.data.synthetic.sheet import DIAMOND, OCTAGON, PENTAGON, SQUARE, TRIANGLE


@pytest.mark.parametrize(
    ("points", "area"), [(SQUARE, 4.0), (DIAMOND, 2.0), (TRIANGLE, 2.0), (OCTAGON, 3.3137), (PENTAGON, 3.1)]
)
def test_polygons_cover_their_area(points: list[tuple[float, float]], area: float) -> None:
    assert coverage(polygon(canvas(128), points)).mean() * 4 == pytest.approx(area, rel=0.01)


def test_disc_and_stroke_cover_their_area() -> None:
    grid = canvas(128)
    assert coverage(disc(grid, 0.1, -0.2, 0.5)).mean() * 4 == pytest.approx(torch.pi / 4, rel=0.01)
    # A line with round ends: a rectangle and a disc.
    area = 1.0 * 0.2 + torch.pi * 0.01
    assert coverage(stroke(grid, [(-0.5, 0.0), (0.5, 0.0)], 0.2)).mean() * 4 == pytest.approx(area, rel=0.01)


def test_polygon_distance_is_signed_and_euclidean() -> None:
    grid = canvas(64)
    distance = polygon(grid, SQUARE)
    torch.testing.assert_close(distance, grid.abs().amax(0) - 1)


def test_text_fills_its_box() -> None:
    inside = text(canvas(128), "STOP", (-0.75, -0.25, 0.75, 0.25), 0.1) < 0
    rows, columns = inside.any(1).nonzero(), inside.any(0).nonzero()
    assert (rows.min(), rows.max()) == (48, 79)
    assert (columns.min(), columns.max()) == (16, 111)
