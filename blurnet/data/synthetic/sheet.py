"""A sign being painted: plates, lines and words laid over each other in named paints."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from blurnet.data.synthetic.shapes import Points, coverage, disc, polygon, stroke, text

#: Colour ranges, (darkest RGB, brightest RGB); a sign draws each of its paints between the two.
PAINTS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "white": ((0.72, 0.72, 0.68), (1.0, 1.0, 1.0)),
    "black": ((0.0, 0.0, 0.0), (0.2, 0.2, 0.2)),
    "red": ((0.45, 0.0, 0.02), (0.9, 0.2, 0.25)),
    "yellow": ((0.8, 0.38, 0.0), (1.0, 0.85, 0.25)),
    "lime": ((0.55, 0.7, 0.0), (0.95, 1.0, 0.3)),
    "green": ((0.0, 0.35, 0.25), (0.25, 0.75, 0.55)),
    "lamp": ((0.55, 0.45, 0.1), (1.0, 0.9, 0.7)),
}

_R8 = 0.4142
OCTAGON: Points = ((-_R8, -1), (_R8, -1), (1, -_R8), (1, _R8), (_R8, 1), (-_R8, 1), (-1, _R8), (-1, -_R8))
DIAMOND: Points = ((0, -1), (1, 0), (0, 1), (-1, 0))
SQUARE: Points = ((-1, -1), (1, -1), (1, 1), (-1, 1))
TRIANGLE: Points = ((-1, -1), (1, -1), (0, 1))
PENTAGON: Points = ((0, -1), (1, -0.1), (1, 1), (-1, 1), (-1, -0.1))


@dataclass
class Sheet:
    """A sign being painted: each paint's share of every pixel; later coats cover earlier ones.

    Args:
        grid: from :func:`blurnet.data.synthetic.shapes.canvas`; the plate fills [-1, 1].
        bold: factor on the width of lettering and symbols.
    """

    grid: Tensor
    bold: float = 1.0
    shares: dict[str, Tensor] = field(default_factory=dict)

    def coat(self, paint: str, distance: Tensor) -> None:
        """Cover the inside of a signed distance with a paint."""
        new = coverage(distance)
        for name, share in self.shares.items():
            self.shares[name] = share * (1 - new)
        self.shares[paint] = self.shares.get(paint, torch.zeros_like(new)) + new

    def plate(self, points: Points, face: str, rim: str, gap: float = 0.04, line: float = 0.05) -> None:
        """A plate of the face's paint with a rim line set in by a gap."""
        round_by = 0.0 if points is OCTAGON else 0.04
        self.coat(face, polygon(self.grid, points, round_by))
        self.coat(rim, self._inset(points, gap))
        self.coat(face, self._inset(points, gap + line))

    def _inset(self, points: Points, by: float) -> Tensor:
        # The plates are convex and about 2 wide: a scaled copy is an inset to well under a pixel.
        centre = (0.0, -0.3) if points is TRIANGLE else (0.0, 0.0)
        scaled = [tuple(c + (v - c) * (1 - by) for v, c in zip(p, centre, strict=True)) for p in points]
        return polygon(self.grid, [(x, y) for x, y in scaled], 0.05)

    def shape(self, points: Points, paint: str = "black") -> None:
        """A filled polygon."""
        self.coat(paint, polygon(self.grid, points))

    def line(self, points: Points, width: float, paint: str = "black") -> None:
        """An open line."""
        self.coat(paint, stroke(self.grid, points, width * self.bold))

    def disc(self, x: float, y: float, radius: float, paint: str = "black") -> None:
        """A filled disc."""
        self.coat(paint, disc(self.grid, x, y, radius))

    def word(self, word: str, box: tuple[float, float, float, float], width: float, paint: str = "black") -> None:
        """A word that fills a box (left, top, right, bottom)."""
        self.coat(paint, text(self.grid, word, box, width * self.bold))

    def up_arrow(self, x: float, tip: float, half: float, length: float) -> None:
        """An arrow head that points up."""
        self.shape(((x, tip), (x + half, tip + length), (x - half, tip + length)))
