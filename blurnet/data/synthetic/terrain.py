"""Ground of rendered maps: heights, tints, contour lines, and the smooth curves that rivers and roads follow."""

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


def heights(rng: np.random.Generator, shape: tuple[int, int], cell: float) -> Floats:
    """Smooth noise of three octaves.

    Args:
        rng: where the numbers come from.
        shape: (H, W).
        cell: pixels from one hill to the next; finer octaves have half and a quarter of it.

    Returns:
        (H, W) in [0, 1], 0 and 1 reached.
    """
    height, width = shape
    ground = np.zeros(shape, np.float32)
    for octave in range(3):
        step, weight = cell / 2**octave, 0.4**octave
        grid = rng.normal(size=(int(height / step) + 3, int(width / step) + 3)).astype(np.float32)
        # A part of the enlarged grid, so that hills keep their size whatever that of the map.
        window = (1.0, 1.0, 1 + width / step, 1 + height / step)
        part = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC, box=window)
        ground += weight * np.asarray(part)
    low, high = float(ground.min()), float(ground.max())
    ground -= low
    ground /= max(high - low, 1e-6)
    return ground


def tinted(ground: Floats, colours: Floats) -> Floats:
    """Layer tints: one of the colours (K, 3) for each of K equal steps of height; (H, W, 3)."""
    steps = np.minimum((ground * len(colours)).astype(int), len(colours) - 1)
    pixels: Floats = colours[steps]
    return pixels


def contours(ground: Floats, levels: int) -> tuple[Flags, Flags]:
    """Contour lines between a number of levels, 2 pixels wide, and every fifth of them, 4 pixels wide; (H, W) each."""
    steps = (ground * levels).astype(int)
    return _widened(_borders(steps), 1), _widened(_borders((steps + 2) // 5), 3)


def _borders(steps: npt.NDArray[np.int_]) -> Flags:
    """Pixels whose neighbour to the right or below has another value."""
    found = np.zeros(steps.shape, np.bool_)
    found[:, :-1] |= steps[:, :-1] != steps[:, 1:]
    found[:-1] |= steps[:-1] != steps[1:]
    return found


def _widened(line: Flags, by: int) -> Flags:
    """The line continued by some pixels to the right and downwards."""
    out = line.copy()
    for _ in range(by):
        wider = out.copy()
        wider[:, 1:] |= out[:, :-1]
        wider[1:] |= out[:-1]
        out = wider
    return out


def crossing(rng: np.random.Generator, shape: tuple[int, int], bends: float) -> Floats:
    """A smooth curve from one edge of the map to another.

    Args:
        rng: where the numbers come from.
        shape: (H, W) in pixels.
        bends: how far it leaves the straight way, as a share of the map's side.

    Returns:
        Points (K, 2) as (x, y) in pixels; the first and the last stand a little outside of the map.
    """
    height, width = shape
    sides = rng.permutation(4)[:2]
    ends = np.stack([_beyond(side, rng.uniform(0.1, 0.9)) for side in sides])
    along = np.linspace(0, 1, 7)[:, None]
    points = ends[:1] * (1 - along) + ends[1:] * along
    points[1:-1] += rng.normal(size=(5, 2)) * bends
    return smooth(points * np.array([width, height])).astype(np.float32)


def _beyond(side: int, along: float) -> npt.NDArray[np.float64]:
    """A point just outside of one of the unit square's four sides."""
    return np.array(((along, -0.05), (1.05, along), (along, 1.05), (-0.05, along))[side])


def smooth(points: npt.NDArray[np.float64], rounds: int = 4) -> npt.NDArray[np.float64]:
    """An open polyline (K, 2) with its corners cut, its ends kept. Source: Chaikin 1974."""
    for _ in range(rounds):
        before, after = points[:-1], points[1:]
        cut = np.stack((0.75 * before + 0.25 * after, 0.25 * before + 0.75 * after), 1).reshape(-1, 2)
        points = np.concatenate((points[:1], cut, points[-1:]))
    return points


def dashes(points: Floats, length: float) -> list[Floats]:
    """Every second piece of a polyline (K, 2), the pieces of about one length in pixels; each (2 or more, 2)."""
    steps = np.hypot(*np.diff(points, axis=0).T)
    piece = np.concatenate(([0], (np.cumsum(steps) / length).astype(int)))
    chosen = [points[piece == number] for number in range(0, int(piece[-1]) + 1, 2)]
    return [part for part in chosen if len(part) > 1]
