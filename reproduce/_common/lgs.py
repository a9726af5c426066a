"""LGS's paper: the defenses that it compares, its attack, and the options that its scripts add."""

import argparse
from collections.abc import Sequence
from typing import NamedTuple

from blurnet.attacks.patch.lavan import LaVAN
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.masks import Place

#: Patch sizes of Table 1 as shares of the image; at 299 pixels their sides are the paper's 42, 52 and 60.
AREAS = (0.02, 0.03, 0.04)


class Defense(NamedTuple):
    """A row of the paper's tables: what it is called there, as :func:`~blurnet.zoo.parse.parse_defenses` reads it."""

    name: str
    text: str
    accuracy: tuple[float, float, float, float]  #: published in Table 1, percent: clean, and with 2, 3 and 4 % patches


#: Table 1 of the paper, Inception v3 on 50,000 photos.
DEFENSES: tuple[Defense, ...] = (
    Defense("none", "", (75.61, 11.00, 2.79, 0.78)),
    Defense("LGS, lambda 2.3", "lgs:smoothing=2.3", (71.05, 70.90, 69.84, 69.37)),
    Defense("LGS, lambda 2.1", "lgs:smoothing=2.1", (71.50, 70.80, 69.54, 68.56)),
    Defense("LGS, lambda 1.9", "lgs:smoothing=1.9", (71.84, 70.40, 68.84, 66.98)),
    Defense("LGS, lambda 1.7", "lgs:smoothing=1.7", (72.30, 69.55, 67.32, 63.38)),
    Defense("LGS, lambda 1.5", "lgs:smoothing=1.5", (72.72, 67.68, 64.13, 55.67)),
    Defense("digital watermark, blind", "digital_watermark", (52.77, 67.70, 66.19, 64.57)),
    Defense("median, window 3", "median:size=3", (70.59, 63.90, 62.15, 59.81)),
    Defense("Gaussian, window 5", "gaussian:window=5", (61.75, 59.52, 57.68, 55.29)),
    Defense("bilateral, window 5", "bilateral:window=5", (65.70, 61.53, 58.70, 55.59)),
    Defense("JPEG, quality 80", "jpeg:quality=80", (74.35, 18.14, 6.23, 2.06)),
    Defense("JPEG, quality 60", "jpeg:quality=60", (72.71, 25.69, 11.86, 4.85)),
    Defense("JPEG, quality 40", "jpeg:quality=40", (71.20, 37.10, 23.26, 12.73)),
    Defense("JPEG, quality 30", "jpeg:quality=30", (70.04, 45.00, 33.72, 22.04)),
    Defense("JPEG, quality 20", "jpeg:quality=20", (67.51, 52.84, 46.25, 37.19)),
    Defense("JPEG, quality 10", "jpeg:quality=10", (60.25, 53.10, 48.73, 43.59)),
    Defense("TV minimization, weight 10", "total_variation_min:weight=10", (70.21, 14.48, 4.64, 1.73)),
    Defense("TV minimization, weight 20", "total_variation_min:weight=20", (72.85, 13.24, 3.78, 1.17)),
    Defense("TV minimization, weight 30", "total_variation_min:weight=30", (73.85, 12.79, 3.53, 1.04)),
    Defense("bit depth 1", "bit_depth:bits=1", (39.85, 25.93, 15.14, 9.73)),
    Defense("bit depth 2", "bit_depth:bits=2", (64.61, 16.32, 6.15, 2.68)),
    Defense("bit depth 3", "bit_depth:bits=3", (72.83, 13.40, 3.89, 1.25)),
)

#: The settings that the paper compares in its Tables 2 and 3.
COMPARED = (
    "none",
    "LGS, lambda 2.3",
    "digital watermark, blind",
    "median, window 3",
    "JPEG, quality 30",
    "TV minimization, weight 10",
    "bit depth 3",
)
COMPARED_ROWS = tuple(row for row in DEFENSES if row.name in COMPARED)


def compared(*percent: float) -> dict[str, float]:
    """Published figures by the names of :data:`COMPARED`, in its order."""
    return dict(zip(COMPARED, percent, strict=True))


def rows_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--rows``, for :func:`choose`."""
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="defenses to run, by their names or their beginnings")


def choose(rows: Sequence[Defense], names: Sequence[str] | None) -> list[Defense]:
    """The rows whose names begin with any of ``names``, in the table's order; all of them for None.

    Raises:
        ValueError: a name that no row begins with (lists the rows).
    """
    for name in names or ():
        if not any(row.name.startswith(name) for row in rows):
            raise ValueError(f"no row begins with {name!r}; there are: {'; '.join(row.name for row in rows)}")
    return [row for row in rows if names is None or row.name.startswith(tuple(names))]


def attack_arguments(parser: argparse.ArgumentParser, steps: int) -> None:
    """Add what :func:`border_attack` reads, with this number of steps by default."""
    parser.add_argument(
        "--attack",
        choices=("adam", "lavan"),
        default="adam",
        help="how the noise is driven to its target: Adam on the margin, for all steps (default), "
        "or LaVAN's own sign steps until 99 %% confidence",
    )
    parser.add_argument("--steps", type=int, default=steps, help=f"of it (default: {steps}; the paper: 1000)")
    parser.add_argument("--lr", type=float, default=0.05, help="their size in pixel units (default: 0.05)")


def border_attack(arguments: argparse.Namespace, place: Place) -> LaVAN | PatchPGD:
    """The paper's attack: a square of noise at a place on each photo's border, driven to a random target.

    Either LaVAN with its sign steps, which end at 99 % confidence, or Adam on the margin of the same target, which
    takes all steps and keeps, of the pictures that miss their target, one that shows any other wrong class.
    """
    if arguments.attack == "lavan":
        return LaVAN("random", place, arguments.steps, arguments.lr, seed=arguments.seed)
    return PatchPGD(
        place, "random", steps=arguments.steps, optimizer="adam", lr=arguments.lr, stop=False, seed=arguments.seed
    )
