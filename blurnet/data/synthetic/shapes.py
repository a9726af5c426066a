"""Signed-distance shapes on a square canvas: polygons, strokes and stroke lettering, without any drawing library."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Points = Sequence[tuple[float, float]]

# Strokes on a grid 4 wide and 6 high: two digits a point (column, row), strokes parted by "/".
GLYPHS: dict[str, str] = {
    "A": "06 20 46/14 34",
    "C": "41 30 10 01 05 16 36 45",
    "D": "00 30 41 45 36 06 00",
    "E": "40 00 06 46/03 33",
    "H": "00 06/40 46/03 43",
    "I": "20 26",
    "L": "00 06 46",
    "M": "06 00 24 40 46",
    "N": "06 00 46 40",
    "O": "10 30 41 45 36 16 05 01 10",
    "P": "06 00 30 41 42 33 03",
    "S": "41 30 10 01 02 13 33 44 45 36 16 05",
    "T": "00 40/20 26",
    "U": "00 05 16 36 45 40",
    "W": "00 16 22 36 40",
    "X": "00 46/40 06",
    "Y": "00 23 40/23 26",
    "0": "10 30 41 45 36 16 05 01 10",
    "2": "01 10 30 41 42 33 06 46",
    "3": "01 10 30 41 42 33 44 45 36 16 05/33 13",
    "4": "36 30 04 44",
    "5": "40 00 03 33 44 45 36 16 05",
    "6": "41 30 10 01 05 16 36 45 44 33 03",
}


def canvas(pixels: int) -> Tensor:
    """Pixel centres (2, pixels, pixels) as (x, y) in [-1, 1], y downwards."""
    axis = (torch.arange(pixels) * 2 + 1) / pixels - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack((x, y))


def _to_segments(grid: Tensor, starts: Points, ends: Points) -> Tensor:
    """Distance (H, W) of each grid point to the nearest of the segments starts[i] - ends[i]."""
    nearest = torch.full_like(grid[0], math.inf)
    for (ax, ay), (bx, by) in zip(starts, ends, strict=True):
        ux, uy = bx - ax, by - ay
        x, y = grid[0] - ax, grid[1] - ay
        t = ((x * ux + y * uy) / max(ux * ux + uy * uy, 1e-12)).clamp_(0, 1)
        nearest = torch.minimum(nearest, (x - t * ux).square_() + (y - t * uy).square_())
    return nearest.sqrt_()


def polygon(grid: Tensor, points: Points, rounding: float = 0.0) -> Tensor:
    """Signed distance (H, W) to a polygon, negative inside.

    Args:
        grid: from :func:`canvas`.
        points: the vertices in order.
        rounding: corner radius; the polygon is shrunk towards its centre by as much, so its extent about stays.
    """
    xs, ys = zip(*points, strict=True)
    cx, cy = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
    scale = 1 - rounding
    starts = [(cx + (x - cx) * scale, cy + (y - cy) * scale) for x, y in points]
    ends = starts[1:] + starts[:1]
    distance = _to_segments(grid, starts, ends)
    inside = torch.zeros_like(distance, dtype=torch.bool)
    for (ax, ay), (bx, by) in zip(starts, ends, strict=True):
        if ay != by:
            # Even-odd rule: an edge counts when it crosses the point's row to the right of it.
            crosses = (ay > grid[1]) != (by > grid[1])
            inside ^= crosses & (grid[0] < ax + (grid[1] - ay) * ((bx - ax) / (by - ay)))
    return torch.where(inside, -distance, distance) - rounding


def stroke(grid: Tensor, points: Points, width: float) -> Tensor:
    """Signed distance (H, W) to an open line of the given width with round ends."""
    return _to_segments(grid, points[:-1], points[1:]) - width / 2


def disc(grid: Tensor, x: float, y: float, radius: float) -> Tensor:
    """Signed distance (H, W) to a disc."""
    return torch.hypot(grid[0] - x, grid[1] - y) - radius


def text(grid: Tensor, word: str, box: tuple[float, float, float, float], width: float) -> Tensor:
    """Signed distance (H, W) to a word that fills the box (left, top, right, bottom) with strokes of a width.

    A letter takes 4 columns; the gap is 1.6 columns in a word and 2.6 in a number, which signs space wider.
    """
    left, top, right, bottom = (box[0] + width / 2, box[1] + width / 2, box[2] - width / 2, box[3] - width / 2)
    gap = 2.6 if word.isdigit() else 1.6
    column = (right - left) / ((4 + gap) * len(word) - gap)
    row = (bottom - top) / 6
    lines = [
        stroke(
            grid, [(left + column * ((4 + gap) * k + int(p[0])), top + row * int(p[1])) for p in part.split()], width
        )
        for k, letter in enumerate(word)
        for part in GLYPHS[letter].split("/")
    ]
    return torch.stack(lines).amin(0)


def coverage(distance: Tensor) -> Tensor:
    """Antialiased share (H, W) in [0, 1] of each pixel that lies inside."""
    return (0.5 - distance * (distance.shape[-1] / 2)).clamp(0, 1)
