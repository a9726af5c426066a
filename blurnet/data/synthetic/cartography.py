"""What maps draw beside words: colours of three kinds of map, ground, waters, roads and symbols on a Pillow image."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from blurnet.data.synthetic.terrain import Floats, contours, crossing, dashes, heights, tinted

#: Samples a pixel along each axis: the sheet is drawn larger, then reduced.
FINE = 2

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Style:
    """Colours of one kind of map, 0 to 255; ``halo``: how often a word is kept clear of what lies beneath."""

    tints: tuple[Colour, ...]
    water: Colour
    contour: Colour
    casing: Colour
    road: Colour
    ink: Colour
    halo: float


STYLES = (
    # An old survey sheet: paper, brown contours, black line work.
    Style(((238, 236, 220),), (190, 212, 214), (196, 110, 70), (50, 46, 44), (240, 238, 224), (34, 32, 30), 0.2),
    # An atlas: layer tints, red roads.
    Style(
        ((176, 204, 160), (200, 218, 170), (232, 228, 184), (236, 212, 164), (222, 188, 146)),
        (150, 190, 220), (172, 136, 100), (150, 60, 50), (214, 96, 76), (30, 28, 40), 0.5,
    ),
    # A street map: pale land, white and yellow roads.
    Style(
        ((242, 239, 233), (226, 236, 214)),
        (170, 211, 223), (214, 200, 184), (176, 164, 150), (252, 236, 170), (66, 60, 64), 0.8,
    ),
)  # fmt: skip


def draw_ground(rng: np.random.Generator, shape: tuple[int, int], style: Style) -> Image.Image:
    """Tints, contour lines, and waters over them."""
    ground = heights(rng, shape, cell=rng.uniform(70, 140) * FINE)
    colours = np.array(style.tints, np.float32) + rng.normal(size=3) * 4
    pixels = tinted(ground, colours.astype(np.float32))
    thin, thick = contours(ground, int(rng.integers(8, 22)))
    pixels[thin | thick] = style.contour
    pixels[ground < rng.uniform(0, 0.12)] = style.water
    sheet = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(sheet)
    for _ in range(int(rng.integers(1, 3))):
        darker = (style.water[0] - 60, style.water[1] - 40, style.water[2] - 10)
        _line(draw, crossing(rng, shape, 0.08), darker, int(rng.integers(2, 7)))
    return sheet


def draw_roads(rng: np.random.Generator, sheet: Image.Image, style: Style) -> None:
    """Cased roads, a railway with its ties, tracks as dashes."""
    draw, shape = ImageDraw.Draw(sheet), (sheet.height, sheet.width)
    for _ in range(int(rng.integers(1, 4))):
        path, wide = crossing(rng, shape, 0.05), int(rng.integers(6, 13))
        _line(draw, path, style.casing, wide)
        _line(draw, path, style.road, wide - 4)
    for _ in range(int(rng.integers(0, 3))):
        for part in dashes(crossing(rng, shape, 0.06), 8.0):
            _line(draw, part, style.casing, 2)
    if rng.random() < 0.4:
        path = crossing(rng, shape, 0.03)
        _line(draw, path, style.ink, 2)
        for x, y, dx, dy in _ties(path, 14.0):
            draw.line((x - dx, y - dy, x + dx, y + dy), style.ink, 2)


def _ties(path: Floats, gap: float) -> npt.NDArray[np.float64]:
    """Middle and half extent (x, y, dx, dy) of the ties across a railway."""
    steps = np.diff(path, axis=0)
    far = np.hypot(*steps.T)
    at = np.flatnonzero(np.diff(np.floor(np.cumsum(far) / gap)) > 0)
    across = steps[at][:, ::-1] * np.array((-1, 1)) / far[at, None] * 5
    return np.concatenate((path[at], across), 1).astype(np.float64)


def draw_symbols(rng: np.random.Generator, sheet: Image.Image, style: Style, count: int) -> None:
    """Houses, dots of places, triangles of peaks, crosses of churches."""
    draw = ImageDraw.Draw(sheet)
    for _ in range(count):
        x, y = rng.uniform(0, sheet.width), rng.uniform(0, sheet.height)
        kind, r = rng.integers(4), rng.uniform(4, 8)
        if kind == 0:
            turn = rng.uniform(0, math.pi) + np.arange(4) * math.pi / 2
            draw.polygon([(x + r * math.cos(t), y + r * math.sin(t)) for t in turn], style.ink)
        elif kind == 1:
            draw.ellipse((x - r, y - r, x + r, y + r), style.road, style.ink, 2)
        elif kind == 2:
            draw.polygon([(x, y - r), (x + r, y + r), (x - r, y + r)], None, style.ink, 2)
        else:
            draw.line((x, y - r, x, y + r), style.ink, 2)
            draw.line((x - r, y, x + r, y), style.ink, 2)


def _line(draw: ImageDraw.ImageDraw, points: Floats, colour: Colour, wide: int) -> None:
    draw.line([(float(x), float(y)) for x, y in points], colour, wide, joint="curve")
