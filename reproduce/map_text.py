"""Text of maps, the other use of a deep image prior on Deep Protection's poster: how many words a residual holds.

    python -m reproduce.map_text [--root DIR] [--limit N] [--rendered N] [--at N ...] [--json FILE]

A prior draws terrain and roads before text; what it has not drawn after some iterations is thresholded, closed and
filtered by the size and shape of its components. One table line for each number of iterations, one for a Gaussian blur
in the prior's place, which is what the prior must beat. Columns for rendered maps, whose ink is known, and with
``--root`` for scanned ones, of which some words have boxes:

- recall: words of whose ink at least half is marked. In a box of a scanned map, ink is what is darker than Otsu's
  threshold of the box. In brackets the same mask moved elsewhere: what as many marks of the same shapes find by chance;
- marked: the share of the image that is marked;
- F1 of the pixels, on rendered maps only: scanned ones have text without boxes.

How a residual becomes a mask, and the number of iterations or the blur that is recommended ("chosen"), have the largest
sum of recall and F1 on rendered maps of other seeds than those scored. The poster has no figures: "all text can be
extracted from maps", at an iteration fine-tuned by observation. Finished pieces stay in ``--out``.
"""

import argparse
import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur
from tqdm import tqdm

from blurnet.strict import plain
from blurnet.transforms.deep_image_prior.text import EARLY, Ink, TextMaskSettings, text_mask, undrawn
from blurnet.transforms.deep_image_prior.tiles import tiled_prior
from reproduce._common.arguments import add_json, add_machine, add_out, command, new_parser, set_threads
from reproduce._common.cells import Cells
from reproduce._common.maps import (
    ENOUGH,
    MOVES,
    Piece,
    f1,
    fingerprint,
    maps_folder,
    recall_of,
    rendered,
    scanned,
    score,
    summary,
)
from reproduce._common.tables import markdown, shown, write_rows

#: Pieces by default: what two CPU cores finish in a quarter of an hour.
RENDERED, TUNING, LIMIT = 12, 5, 10

#: Iterations by default.
AT = (25, 50, 75, 100, 150, 200)

#: Standard deviations of the blur, in pixels.
SIGMAS = (2.0, 4.0, 8.0, 16.0)

INKS: tuple[Ink, ...] = ("any", "dark")

#: How far the seeds of the maps that the choice is made on lie behind those of the maps that are scored.
TUNING_SEEDS = 10_000

#: What the choice is made from.
GRID = tuple(
    TextMaskSettings(threshold, level, closing, fill=fill)
    for (threshold, level), closing, fill in itertools.product(
        (("otsu", 0.0), *(("quantile", level) for level in (0.9, 0.93, 0.95, 0.97))), (1, 2, 3), (0.0, 0.1, 0.2)
    )
)  # fmt: skip

Scores = list[dict[str, Any]]


@dataclass(frozen=True)
class Drawn:
    """Pieces of maps, and by the name of a step (iterations or sigma) what is drawn in their place, (n, 3, S, S)."""

    pieces: list[Piece]
    steps: dict[str, Tensor]

    def masks(self, step: str, ink: Ink, mask: TextMaskSettings) -> Tensor:
        """(n, S, S) bool."""
        images = torch.stack([piece.image for piece in self.pieces])
        return text_mask(undrawn(images, self.steps[step].float(), ink), mask)[:, 0]

    def scores(self, step: str, ink: Ink, mask: TextMaskSettings, moves: int = MOVES) -> Scores:
        """One a piece."""
        found = self.masks(step, ink, mask)
        return [score(one, piece, moves=moves) for one, piece in zip(found, self.pieces, strict=True)]


def drawn(cells: Cells, name: str, pieces: list[Piece], options: argparse.Namespace, bar: tqdm) -> dict[str, Drawn]:
    """What the prior and what the blur draw; the prior's is kept batch by batch."""
    images = torch.stack([piece.image for piece in pieces])
    settings = replace(EARLY, net=options.net, seed=options.seed)
    parts = []
    for number, batch in enumerate(images.split(options.batch)):

        def draw(batch: Tensor = batch) -> dict[str, Tensor]:
            found = tiled_prior(batch.to(options.device), options.at, settings, tile=options.size)
            # In half precision, which is 0.0003 at most from what was drawn.
            return {f"{step} iterations": each.cpu().half() for step, each in zip(options.at, found, strict=True)}

        parts.append(cells.tensors(f"{name.replace('/', '-')}-{number}", draw))
        bar.update(len(batch))
    prior = {step: torch.cat([part[step] for part in parts]) for step in (f"{step} iterations" for step in options.at)}
    blurred = {f"sigma {sigma:g}": gaussian_blur(images, [2 * int(3 * sigma) + 1] * 2, [sigma] * 2) for sigma in SIGMAS}
    return {"prior": Drawn(pieces, prior), "Gaussian blur": Drawn(pieces, blurred)}


def choose(tuning: Drawn, ink: Ink) -> tuple[str, TextMaskSettings]:
    """The step and the settings with the largest sum of recall and F1 on the maps for tuning.

    F1 keeps a mask of everything from winning; the recall is what is asked for.
    """

    def worth(candidate: tuple[str, TextMaskSettings]) -> float:
        scores = tuning.scores(candidate[0], ink, candidate[1], moves=0)
        return recall_of(scores).value + f1(scores)

    candidates = list(itertools.product(tuning.steps, GRID))
    return max(tqdm(candidates, desc=f"choosing, {ink}", leave=False), key=worth)


def pieces_of(options: argparse.Namespace) -> dict[str, list[Piece]]:
    """Pieces to choose on ("tuning"), rendered ones, and those of each scanned map."""
    first = options.seed + TUNING_SEEDS
    tuning = rendered(range(first, first + options.tuning), options.size)
    scored = rendered(range(options.seed, options.seed + options.rendered), options.size)
    kinds = {"tuning": tuning, "rendered": scored}
    if options.root is not None:
        kinds |= scanned(maps_folder(options.root), options.size, options.scale, options.limit, options.seed)
    return kinds


def table(cells: Cells, kinds: dict[str, list[Piece]], options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows: what is drawn in the map's place, which sign counts, and the scores of every kind of map."""
    with tqdm(total=sum(map(len, kinds.values())), desc="prior", unit="piece") as bar:
        everything = {name: drawn(cells, name, pieces, options, bar) for name, pieces in kinds.items()}
    tuning = everything.pop("tuning")
    rows = []
    for method, ink in itertools.product(tuning, INKS):
        best, mask = choose(tuning[method], ink)
        for step in tuning[method].steps if method == "prior" else [best]:
            measured = {name: summary(each[method].scores(step, ink, mask)) for name, each in everything.items()}
            row = {"row": f"{method}, {step}", "ink": ink, "chosen": step == best, "mask": plain(mask)}
            rows.append(row | {"measured": measured})
    return rows


def line(row: dict[str, Any]) -> list[str]:
    """A row of the printed table."""
    cells = [row["row"] + (" (chosen)" if row["chosen"] else ""), {"any": "either sign", "dark": "darker"}[row["ink"]]]
    for found in row["measured"].values():
        cells += [f"{shown(found['recall'])} ({found['chance']:.1f})", f"{found['marked']:.1f}"]
        cells += [f"{found['f1']:.1f}"] if "f1" in found else []
    return cells


def header(row: dict[str, Any]) -> list[str]:
    """The heads of its columns."""
    heads = ["drawn in the map's place", "residual"]
    for name, found in row["measured"].items():
        heads += [f"{Path(name).stem}, {found['recall'].n} words: recall % (moved)", "marked %"]
        heads += ["F1 %"] if "f1" in found else []
    return heads


def parse() -> argparse.Namespace:
    """The command line.

    Raises:
        ValueError: a number that is too small.
    """
    parser = new_parser(__doc__)
    parser.add_argument("--root", type=Path, help="folder with scanned maps and words.csv, or one above it (maps/)")
    parser.add_argument("--limit", type=int, default=LIMIT, help=f"pieces of each scanned map (default: {LIMIT})")
    parser.add_argument("--scale", type=float, default=0.75, help="of scanned maps, before cutting (default: 0.75)")
    parser.add_argument("--rendered", type=int, default=RENDERED, help=f"rendered maps (default: {RENDERED})")
    parser.add_argument("--tuning", type=int, default=TUNING, help=f"rendered maps to choose on (default: {TUNING})")
    parser.add_argument("--size", type=int, default=256, help="side of a piece in pixels (default: 256)")
    parser.add_argument("--at", type=int, nargs="+", default=list(AT), help="iterations to look after")
    parser.add_argument("--net", default="small", help="of the prior (default: small)")
    parser.add_argument("--batch", type=int, default=2, help="pieces side by side (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="of maps, pieces and the prior (default: 0)")
    add_machine(parser)
    add_out(parser, "runs/map_text", "finished pieces")
    add_json(parser)
    options = parser.parse_args()
    for name, least in {"limit": 1, "rendered": 1, "tuning": 1, "batch": 1, "size": 32, "seed": 0}.items():
        if getattr(options, name) < least:
            raise ValueError(f"--{name}: expected at least {least}, got {getattr(options, name)}")
    if not 0 < options.scale <= 4:
        raise ValueError(f"--scale: expected a number in (0, 4], got {options.scale}")
    options.at = tuple(sorted(set(options.at)))
    return options


def main() -> None:
    """Print the table; write it where asked."""
    options = parse()
    set_threads(options)
    kinds = pieces_of(options)
    decided = {name: getattr(options, name) for name in ("size", "scale", "at", "net", "batch", "seed")}
    decided |= {"pieces": {name: len(pieces) for name, pieces in kinds.items()}, "fingerprint": fingerprint(kinds)}
    rows = table(Cells(options.out, "map_text", decided), kinds, options)
    print(markdown(header(rows[0]), [line(row) for row in rows]))
    write_rows(options.json, rows, enough=ENOUGH, settings=decided, command=command("map_text"))


if __name__ == "__main__":
    main()
