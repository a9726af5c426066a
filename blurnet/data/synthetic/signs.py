"""The 17 LISA signs as stacks of shapes: what is painted where, and in which kind of colour."""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from blurnet.data.labels import LISA_CLASSES
from blurnet.data.synthetic.shapes import Points, canvas, polygon
from blurnet.data.synthetic.sheet import DIAMOND, OCTAGON, PAINTS, PENTAGON, SQUARE, TRIANGLE, Sheet


def _added_lane(s: Sheet, _: int) -> None:
    s.plate(DIAMOND, "yellow", "black")
    s.line(((-0.27, 0.38), (-0.27, -0.2)), 0.15)
    s.up_arrow(-0.27, -0.58, 0.2, 0.36)
    s.line(((0.52, 0.18), (0.33, 0.02), (0.26, -0.12), (0.26, -0.24)), 0.16)
    s.up_arrow(0.24, -0.58, 0.2, 0.36)
    s.line(((0, 0.68), (0, 0.1), (-0.02, -0.1)), 0.05)
    s.line(((0, 0.1), (0.1, 0.25), (0.3, 0.45)), 0.05)
    s.line(((0, -0.3), (0, -0.42)), 0.05)
    s.line(((0, -0.58), (0, -0.7)), 0.05)


def _keep_right(s: Sheet, _: int) -> None:
    s.plate(SQUARE, "white", "black")
    s.shape(
        ((-0.78, -0.62), (-0.18, -0.62), (-0.22, -0.15), (-0.36, 0.12), (-0.48, 0.17), (-0.6, 0.12), (-0.74, -0.15))
    )
    s.line(((-0.02, 0.7), (0.02, 0.4), (0.28, 0.1), (0.36, -0.15), (0.36, -0.35)), 0.3)
    s.shape(((0.36, -0.8), (0.84, -0.24), (-0.1, -0.24)))


def _lane_ends(s: Sheet, variant: int) -> None:
    s.plate(DIAMOND, "yellow", "black")
    side = -1 if variant == 2 else 1
    s.line(((-0.2 * side, -0.5), (-0.2 * side, 0.5)), 0.13)
    s.line(((0.1 * side, -0.5), (0.1 * side, -0.2), (0.27 * side, 0.08), (0.27 * side, 0.5)), 0.13)
    if variant == 1:
        for y in (-0.05, 0.2, 0.42):
            s.line(((0.04, y), (0.04, y + 0.1)), 0.09)


def _merge(s: Sheet, _: int) -> None:
    s.plate(DIAMOND, "yellow", "black")
    s.line(((0, 0.5), (0, -0.2)), 0.2)
    s.up_arrow(0, -0.64, 0.27, 0.44)
    s.line(((0.4, 0.38), (0.14, 0.1), (0.02, -0.1)), 0.15)


def _walker(s: Sheet, x: float, y: float, size: float, side: int) -> None:
    def at(*points: tuple[float, float]) -> Points:
        return [(x + side * size * u, y + size * v) for u, v in points]

    s.disc(x - side * size * 0.05, y - size * 0.52, size * 0.1)
    s.line(at((0.02, -0.26), (0.03, 0.04)), size * 0.24)
    s.line(at((-0.02, -0.28), (-0.2, -0.08), (-0.34, -0.06)), size * 0.09)
    s.line(at((0.1, -0.28), (0.24, -0.06), (0.2, 0.06)), size * 0.09)
    s.line(at((0, 0.08), (-0.12, 0.34), (-0.26, 0.58)), size * 0.13)
    s.line(at((0.05, 0.08), (0.2, 0.34), (0.28, 0.6)), size * 0.13)


def _pedestrian_crossing(s: Sheet, variant: int) -> None:
    s.plate(DIAMOND, "lime" if variant == 2 else "yellow", "black")
    _walker(s, 0, 0, 1.0, -1 if variant == 1 else 1)
    if variant == 1:
        s.line(((-0.3, 0.45), (0.35, 0.42)), 0.04)
        s.line(((-0.2, 0.62), (0.25, 0.58)), 0.04)


def _school(s: Sheet, variant: int) -> None:
    if variant == 2:
        s.coat("yellow", polygon(s.grid, ((0, -1), (0.9, -0.4), (0.9, 0.28), (-0.9, 0.28), (-0.9, -0.4))))
        s.coat("yellow", polygon(s.grid, ((-1, 0.35), (1, 0.35), (1, 1), (-1, 1))))
        s.word("AHEAD", (-0.8, 0.48, 0.8, 0.88), 0.09)
        _walker(s, -0.26, -0.2, 0.62, 1)
        _walker(s, 0.24, -0.28, 0.72, 1)
        return
    s.plate(PENTAGON, "yellow" if variant == 1 else "lime", "black")
    _walker(s, -0.33, 0.22, 0.85, 1)
    _walker(s, 0.27, 0.08, 1.05, 1)


def _school_limit(s: Sheet, variant: int) -> None:
    s.coat("white", polygon(s.grid, SQUARE, 0.04))
    s.coat("lime" if variant != 1 else "yellow", polygon(s.grid, ((-1, -1), (1, -1), (1, -0.7), (-1, -0.7))))
    s.word("SCHOOL", (-0.8, -0.96, 0.8, -0.74), 0.045)
    s.line(((-0.94, -0.64), (0.94, -0.64), (0.94, 0.95), (-0.94, 0.95), (-0.94, -0.64)), 0.03)
    s.word("SPEED", (-0.7, -0.56, 0.7, -0.34), 0.06)
    s.word("LIMIT", (-0.55, -0.24, 0.55, -0.02), 0.06)
    s.word("25", (-0.62, 0.04, 0.64, 0.48), 0.1)
    for y in (0.66, 0.82):
        s.line(((-0.6, y), (0.6, y)), 0.06)


def _signal_ahead(s: Sheet, _: int) -> None:
    s.plate(DIAMOND, "yellow", "black")
    s.shape(((-0.22, -0.64), (0.22, -0.64), (0.22, 0.64), (-0.22, 0.64)))
    for y, paint in ((-0.4, "red"), (0.0, "lamp"), (0.4, "green")):
        s.disc(0, y, 0.16, paint)


def _limit(number: str) -> Callable[[Sheet, int], None]:
    def paint(s: Sheet, variant: int) -> None:
        s.plate(SQUARE, "white", "black")
        words = ("MAXIMUM", "SPEED") if variant == 1 else ("SPEED", "LIMIT")
        s.word(words[0], (-0.78, -0.76, 0.78, -0.42), 0.065)
        s.word(words[1], (-0.6, -0.26, 0.6, 0.06), 0.065)
        s.word(number, (-0.64, 0.12, 0.7, 0.76), 0.13)

    return paint


def _unreadable_limit(s: Sheet, variant: int) -> None:
    _limit(("50", "40", "65")[variant])(s, 0)


def _stop(s: Sheet, variant: int) -> None:
    s.plate(OCTAGON, "red", "white", gap=0.0, line=0.06 + 0.02 * variant)
    high = (0.3, 0.33, 0.36)[variant]
    s.word("STOP", (-0.8, -high, 0.8, high), 0.11, "white")


def _stop_ahead(s: Sheet, _: int) -> None:
    s.plate(DIAMOND, "yellow", "black")
    s.line(((0, -0.4), (0, -0.3)), 0.2)
    s.up_arrow(0, -0.76, 0.34, 0.36)
    s.coat("white", polygon(s.grid, [(0.36 * x, 0.24 + 0.36 * y) for x, y in OCTAGON]))
    s.coat("red", polygon(s.grid, [(0.32 * x, 0.24 + 0.32 * y) for x, y in OCTAGON]))


def _turn_right(s: Sheet, _: int) -> None:
    s.plate(DIAMOND, "yellow", "black")
    s.line(((-0.28, 0.42), (-0.28, -0.22), (0.15, -0.22)), 0.2)
    s.shape(((0.58, -0.22), (0.14, -0.5), (0.14, 0.06)))


def _yield(s: Sheet, variant: int) -> None:
    s.plate(TRIANGLE, "red", "white", gap=0.0, line=0.07)
    inner = (0.42, 0.48, 0.54)[variant]
    s.coat("white", polygon(s.grid, [(inner * x, -0.33 + inner * (y + 0.33)) for x, y in TRIANGLE], 0.03))
    if variant == 1:
        s.word("YIELD", (-0.3, -0.56, 0.3, -0.4), 0.05, "red")


VARIANTS = 3
_OUTLINES: dict[str, Points] = dict.fromkeys(LISA_CLASSES, DIAMOND) | {
    "keepRight": SQUARE, "school": PENTAGON, "schoolSpeedLimit25": SQUARE, "speedLimit25": SQUARE,
    "speedLimit30": SQUARE, "speedLimit35": SQUARE, "speedLimit45": SQUARE, "speedLimitUrdbl": SQUARE,
    "stop": OCTAGON, "yield": TRIANGLE,
}  # fmt: skip
_PAINTERS: dict[str, Callable[[Sheet, int], None]] = {
    "addedLane": _added_lane,
    "keepRight": _keep_right,
    "laneEnds": _lane_ends,
    "merge": _merge,
    "pedestrianCrossing": _pedestrian_crossing,
    "school": _school,
    "schoolSpeedLimit25": _school_limit,
    "signalAhead": _signal_ahead,
    "speedLimit25": _limit("25"),
    "speedLimit30": _limit("30"),
    "speedLimit35": _limit("35"),
    "speedLimit45": _limit("45"),
    "speedLimitUrdbl": _unreadable_limit,
    "stop": _stop,
    "stopAhead": _stop_ahead,
    "turnRight": _turn_right,
    "yield": _yield,
}


def painted(name: str, variant: int, pixels: int) -> Tensor:
    """Each paint's share of a sign's pixels, seen straight on.

    Args:
        name: one of ``LISA_CLASSES``.
        variant: 0, 1 or 2: weight of lettering and differences between signs of one class.
        pixels: width and height.

    Returns:
        (paints, pixels, pixels) in [0, 1], paints in the order of ``PAINTS``; their sum is 1 on the sign, 0 off it.

    Raises:
        ValueError: unknown name or variant.
    """
    if name not in _PAINTERS:
        raise ValueError(f"unknown sign {name!r}; there are {', '.join(LISA_CLASSES)}")
    if variant not in range(VARIANTS):
        raise ValueError(f"variant must be in 0..{VARIANTS - 1}, got {variant!r}")
    sheet = Sheet(canvas(pixels), bold=(1.0, 0.85, 1.2)[variant])
    _PAINTERS[name](sheet, variant)
    empty = torch.zeros(pixels, pixels)
    return torch.stack([sheet.shares.get(paint, empty) for paint in PAINTS])


@lru_cache(maxsize=4)
def atlas(pixels: int) -> Tensor:
    """Every sign in every variant: (17, 3, paints, pixels, pixels), made once for a size. Do not write into it."""
    return torch.stack([torch.stack([painted(name, v, pixels) for v in range(VARIANTS)]) for name in LISA_CLASSES])


def outlines() -> Tensor:
    """Corners of every class's plate, (17, 8, 2) as (x, y) in [-1, 1]; shorter outlines repeat their first corner."""
    return torch.tensor([[*p, *[p[0]] * (8 - len(p))] for p in (_OUTLINES[name] for name in LISA_CLASSES)])
