"""Rendered maps whose lettering is known: terrain, contour lines, waters, roads, symbols, and words over them."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from blurnet.data.images import Box
from blurnet.data.synthetic.cartography import FINE, STYLES, Colour, Style, draw_ground, draw_roads, draw_symbols
from blurnet.data.synthetic.lettering import ABBREVIATIONS, FACES, NAMES, lettered
from blurnet.data.synthetic.terrain import Floats

#: A pixel is of the text where ink covers this share of it: hairlines of small print are narrower than a pixel.
_INK = 0.35
#: One word for as many pixels, where no number is given.
_ROOM = 6500
#: Tries for a place of a word that touches no other, and words drawn for each that is asked for.
_TRIES, _OTHERS = 40, 4

_SMALLEST = 32


class Word(NamedTuple):
    """A word on a map: its text, and the half-open box (top, bottom, left, right) around its ink, in pixels."""

    text: str
    box: Box


@dataclass(frozen=True)
class Map:
    """A rendered map and what is written on it.

    Args:
        image: (3, H, W) in [0, 1].
        text: the ink of all words, (1, H, W) bool.
        words: each with its box; no two boxes meet, so that the ink in a box is that of its word.
    """

    image: Tensor
    text: Tensor
    words: tuple[Word, ...]


def render_map(size: int | tuple[int, int], seed: int, words: int | None = None) -> Map:
    """Draw one map, a pure function of its arguments on one machine.

    The seed decides the kind of map (a survey sheet, an atlas, a street map), its ground and its words: names of
    places and waters, spaced capitals of regions, abbreviations and spot heights, in several faces and sizes (capitals
    8 to 24 pixels high), straight, turned or along an arc, with a halo or none.

    Args:
        size: side, or (H, W), in pixels, at least 32.
        seed: any int from 0.
        words: how many to set; None is one for every 6500 pixels. There may be fewer: where a word finds no free place
            in some tries another is drawn, four for each that is asked for.

    Raises:
        TypeError: size, seed or words is not an int. ValueError: out of range.
    """
    height, width = size if isinstance(size, tuple) and len(size) == 2 else (size, size)
    _check(
        height=(height, _SMALLEST), width=(width, _SMALLEST), seed=(seed, 0), words=(0 if words is None else words, 0)
    )
    words = max(1, round(height * width / _ROOM)) if words is None else words
    rng = np.random.default_rng(seed)
    style = STYLES[int(rng.integers(len(STYLES)))]
    fine = (height * FINE, width * FINE)
    sheet = draw_ground(rng, fine, style)
    draw_roads(rng, sheet, style)
    draw_symbols(rng, sheet, style, round(height * width / 4000))
    text, found = _words(rng, sheet, style, words)
    small = sheet.resize((width, height), Image.Resampling.BOX)
    pixels = np.asarray(small, np.float32) / 255 + rng.normal(size=(height, width, 1)).astype(np.float32) * 0.008
    image = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1).clamp(0, 1).contiguous()
    return Map(image, torch.from_numpy(text)[None], tuple(found))


def _check(**values: tuple[object, int]) -> None:
    for name, (value, least) in values.items():
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"render_map {name}: expected an int, got {value!r}")
        if value < least:
            raise ValueError(f"render_map {name}: expected at least {least}, got {value}")


def _words(
    rng: np.random.Generator, sheet: Image.Image, style: Style, count: int
) -> tuple[npt.NDArray[np.bool_], list[Word]]:
    """Write words where none meets another: the mask (H, W) of their ink, and the words."""
    text, found = np.zeros((sheet.height // FINE, sheet.width // FINE), np.bool_), list[Word]()
    for _ in range(_OTHERS * count):
        if len(found) == count:
            break
        written, ink, colour = _word(rng, style)
        marks = _reduced(ink) >= _INK
        box = _free(rng, marks, text.shape, [word.box for word in found])
        if box is not None:
            top, bottom, left, right = box
            text[top:bottom, left:right] |= marks
            found.append(Word(written, _around(marks, box)))
            _write(sheet, ink, (left * FINE, top * FINE), colour, style if rng.random() < style.halo else None)
    return text, found


def _free(
    rng: np.random.Generator, marks: npt.NDArray[np.bool_], size: tuple[int, ...], taken: list[Box]
) -> Box | None:
    """A random place for a word that meets none of the boxes taken; None where some tries find none."""
    rows, columns = (all_ - own for all_, own in zip(size, marks.shape, strict=True))
    for _ in range(_TRIES if min(rows, columns) > 0 and marks.any() else 0):
        top, left = int(rng.integers(rows)), int(rng.integers(columns))
        box = (top, top + marks.shape[0], left, left + marks.shape[1])
        if not any(_meet(box, other) for other in taken):
            return box
    return None


def _word(rng: np.random.Generator, style: Style) -> tuple[str, Floats, Colour]:
    """What is written, its ink at the fine scale, and its colour."""
    kind, turned = rng.random(), rng.random() < 0.4
    angle = rng.uniform(-0.9, 0.9) if turned else 0.0
    bend = rng.uniform(-1.0, 1.0) if rng.random() < 0.3 else 0.0
    name = str(rng.choice(NAMES))
    if kind < 0.15:  # a region
        size, spacing = int(rng.integers(16, 34)), rng.uniform(0.2, 0.6)
        return (
            name.upper(),
            lettered(name.upper(), "roman", size * FINE, angle=angle, bend=bend, spacing=spacing),
            style.ink,
        )
    if kind < 0.35:  # small print
        short = str(rng.choice(ABBREVIATIONS)) if rng.random() < 0.5 else str(rng.integers(12, 4000))
        return short, lettered(short, "sans", int(rng.integers(11, 15)) * FINE), style.ink
    if kind < 0.5:  # a water
        size, blue = int(rng.integers(13, 22)), (30, 70, 140)
        return name, lettered(name, "italic", size * FINE, angle=angle, bend=bend, spacing=0.08), blue
    face = str(rng.choice(list(FACES)))
    return name, lettered(name, face, int(rng.integers(13, 30)) * FINE, angle=angle, bend=bend / 2), style.ink


def _write(sheet: Image.Image, ink: Floats, at: tuple[int, int], colour: Colour, halo: Style | None) -> None:
    """Put ink on the sheet, its upper left corner at (x, y); the style gives a halo the colour of its first tint."""
    pad = 3 * FINE
    mask = Image.fromarray((np.pad(ink, pad) * 255).round().astype(np.uint8))
    place = (at[0] - pad, at[1] - pad)
    if halo is not None:
        clear = mask.filter(ImageFilter.MaxFilter(2 * FINE + 1)).filter(ImageFilter.GaussianBlur(FINE / 2))
        sheet.paste(halo.tints[0], place, clear)
    sheet.paste(colour, place, mask)


def _reduced(ink: Floats) -> Floats:
    """Means over the fine samples of each pixel."""
    h, w = (math.ceil(side / FINE) for side in ink.shape)
    padded = np.pad(ink, ((0, h * FINE - ink.shape[0]), (0, w * FINE - ink.shape[1])))
    means: Floats = padded.reshape(h, FINE, w, FINE).mean((1, 3))
    return means


def _around(marks: npt.NDArray[np.bool_], box: Box) -> Box:
    """The part of a box that its marks take, of which there are some."""
    rows, columns = np.flatnonzero(marks.any(1)), np.flatnonzero(marks.any(0))
    return box[0] + int(rows[0]), box[0] + int(rows[-1]) + 1, box[2] + int(columns[0]), box[2] + int(columns[-1]) + 1


def _meet(one: Box, other: Box, gap: int = 4) -> bool:
    """Whether two boxes come closer than a gap in pixels."""
    rows = one[0] < other[1] + gap and other[0] < one[1] + gap
    return rows and one[2] < other[3] + gap and other[2] < one[3] + gap
