"""Lettering of rendered maps: words in several faces, straight, turned, spaced or along an arc, as coverage masks."""

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageDraw, ImageFont

from blurnet.checks import one_of

Floats = npt.NDArray[np.float32]

#: Faces by what maps write in them; the files travel with matplotlib.
FACES = {
    "roman": "STIXGeneral.ttf",
    "italic": "STIXGeneralItalic.ttf",
    "bold": "STIXGeneralBol.ttf",
    "sans": "DejaVuSans.ttf",
}

#: Invented or common names of places, hills and waters, each one word.
NAMES = (
    "Alderton", "Ashby", "Barrow", "Beacon", "Birchley", "Blackmoor", "Bramford", "Brookside", "Burnt", "Calder",
    "Canfield", "Cedar", "Chapel", "Coldwell", "Copper", "Cranmere", "Dunmore", "Eastwick", "Elmstead", "Fairview",
    "Fernhill", "Foxley", "Garth", "Glenburn", "Granite", "Greenham", "Hadley", "Harrow", "Hawthorn", "Hazelwood",
    "Holcombe", "Iron", "Juniper", "Kelstone", "Kingsley", "Langdale", "Larkfield", "Linton", "Longmead", "Maplewood",
    "Marsh", "Milford", "Moorgate", "Netherby", "Norwood", "Oakham", "Otter", "Pinehurst", "Quarry", "Ravenscar",
    "Redhill", "Rowan", "Saltmere", "Shelford", "Silver", "Stonebridge", "Summit", "Swanwick", "Thornbury", "Upton",
    "Vale", "Wareham", "Westlake", "Whitby", "Willow", "Winslow", "Woodend", "Yarrow",
)  # fmt: skip

#: What small print says beside symbols.
ABBREVIATIONS = ("B.M.", "P.H.", "P.O.", "Sch.", "Ch.", "Fm.", "Hosp.", "Spr.", "Mon.", "Res.")


@lru_cache(maxsize=64)
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    from matplotlib import get_data_path  # takes longer to import than the rest of the file

    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / FACES[face]), size)


def lettered(text: str, face: str, size: int, *, angle: float = 0.0, bend: float = 0.0, spacing: float = 0.0) -> Floats:
    """A word as the share of each pixel that its ink covers.

    Args:
        text: one word.
        face: "roman", "italic", "bold" or "sans".
        size: of the face in pixels: capitals are about 0.7 of it high.
        angle: of the whole word in radians, clockwise.
        bend: by how much the last letter is turned against the first, in radians; the letters stand along an arc.
        spacing: added behind each letter, as a share of the size.

    Returns:
        (h, w) in [0, 1], as small as the ink allows.

    Raises:
        ValueError: unknown face, a size below 1, or a text that leaves no ink.
    """
    one_of(face, FACES, "face")
    if size < 1:
        raise ValueError(f"size of lettering: expected at least 1 pixel, got {size}")
    font = _font(face, size)
    middles, length = _spaced(text, font, spacing * size)
    side = math.ceil(length) + 4 * size
    sheet = Image.new("L", (side, side))
    for letter, middle in zip(text, middles, strict=True):
        x, y = _on_arc(middle, length, bend)
        x, y = x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)
        glyph = _glyph(letter, font, size, angle + bend * middle / length)
        left, top = round((side - glyph.width) / 2 + x), round((side - glyph.height) / 2 + y)
        beneath = sheet.crop((left, top, left + glyph.width, top + glyph.height))
        sheet.paste(ImageChops.lighter(glyph, beneath), (left, top))
    box = sheet.getbbox()
    if box is None:
        raise ValueError(f"lettering: the text {text!r} leaves no ink at {size} pixels")
    return np.asarray(sheet.crop(box)).astype(np.float32) / np.float32(255)


def _spaced(text: str, font: ImageFont.FreeTypeFont, gap: float) -> tuple[list[float], float]:
    """Where the middle of each letter stands from that of the word, and how long the word is; kerned, gaps added."""
    ends = [font.getlength(text[:k]) + gap * max(k - 1, 0) for k in range(len(text) + 1)]
    starts = [end + gap * (k > 0) for k, end in enumerate(ends[:-1])]
    return [(start + end - ends[-1]) / 2 for start, end in zip(starts, ends[1:], strict=True)], max(ends[-1], 1.0)


def _on_arc(middle: float, length: float, bend: float) -> tuple[float, float]:
    """Where (x, y) on an arc through the origin, that turns by ``bend`` over ``length``, a letter stands."""
    if abs(bend) < 1e-3:
        return middle, 0.0
    radius = length / bend
    return radius * math.sin(middle / radius), radius * (1 - math.cos(middle / radius))


def _glyph(letter: str, font: ImageFont.FreeTypeFont, size: int, turn: float) -> Image.Image:
    """A letter on a square patch, turned about the middle of its height."""
    patch = Image.new("L", (3 * size, 3 * size))
    ImageDraw.Draw(patch).text((1.5 * size, 1.85 * size), letter, fill=255, font=font, anchor="ms")
    return patch if turn == 0 else patch.rotate(-math.degrees(turn), Image.Resampling.BICUBIC)
