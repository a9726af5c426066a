"""Table 1 of LGS's paper: LaVAN's patches, made on the undefended net, shown to every defense.

    python -m reproduce.lgs_table1 --data-root DIR [--limit N] [--clean-limit N] [--steps N] [--json FILE]

For each photo and each size a square of noise is put at a random place on the border and driven to a random target.
The pictures are made once a size and shown to all defenses. By default Adam drives them, for all steps; ``--attack
lavan`` takes LaVAN's sign steps, until the net shows the target with 99 % confidence. An interrupted run goes on where
it was: finished batches of pictures and finished cells (row, size) stay in ``--out``.

Published: Inception v3, 50,000 photos, at most 1000 steps. Accuracy counts all photos, also those that the net gets
wrong before any attack, as the paper's does.
"""

import argparse
import time
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from blurnet.attacks.base import Attack
from blurnet.attacks.engine.targets import choose_targets
from blurnet.masks import Place
from reproduce._common.answers import answers, logits
from reproduce._common.arguments import command
from reproduce._common.cells import Cells
from reproduce._common.lgs import (
    AREAS,
    DEFENSES,
    Defense,
    attack_arguments,
    border_attack,
    choose,
    rows_option,
)
from reproduce._common.marks import marks, rate
from reproduce._common.photos import Setup, load_setup, settings, setup_parser
from reproduce._common.tables import markdown, shown, write_rows

#: Photos and steps of the attack by default: what two CPU cores finish in about half an hour.
LIMIT, STEPS = 64, 200

#: The table's rows: the paper's, and its headline setting read the other way, with the gradients of each channel.
ROWS = (*DEFENSES, DEFENSES[1]._replace(name="LGS, lambda 2.3, each channel", text="lgs:smoothing=2.3:maps=channel"))

COLUMNS = ("clean", *(f"{area:.0%}" for area in AREAS))


class Pictures:
    """The photos with an attack's patches, made on the undefended net, of one size.

    Kept are the patches; a picture is put together when it is asked for, bit for bit as the attack returned it.
    """

    def __init__(self, setup: Setup, cells: Cells, attack: Attack, place: Place) -> None:
        self.setup, self.cells, self.attack, self.place = setup, cells, attack, place

    def make(self) -> None:
        """Attack every batch that is not finished."""
        name = f"attack, {self.place.area:.0%}"
        with tqdm(total=len(self.setup.pool), desc=name, unit="photo") as bar:
            for number in range(self.setup.pool.shards):
                bar.update(len(self._patches(number)["patch"]))

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Attacked images (B, 3, S, S) and labels (B,)."""
        images, labels = self.setup.batch(number)
        for image, patch, box in zip(images, self._patches(number)["patch"], self.place.boxes(images), strict=True):
            top, bottom, left, right = box.tolist()
            image[:, top:bottom, left:right] = patch.to(images)
        return images, labels

    def _patches(self, number: int) -> dict[str, Tensor]:
        return self.cells.tensors(f"area{self.place.area:g}-{number:04d}", lambda: self._attack(number))

    def _attack(self, number: int) -> dict[str, Tensor]:
        images, labels = self.setup.batch(number)
        begin = time.perf_counter()
        adversarial = self.attack(self.setup.net, images, labels)
        seconds = torch.tensor([time.perf_counter() - begin])
        boxes = self.place.boxes(images).tolist()
        cut = [x[:, top:bottom, left:right] for x, (top, bottom, left, right) in zip(adversarial, boxes, strict=True)]
        return {"patch": torch.stack(cut).cpu(), "seconds": seconds}

    def seconds(self) -> float:
        """What the attack took, over all runs."""
        return sum(float(self._patches(number)["seconds"]) for number in range(self.setup.pool.shards))


def pictures(setup: Setup, cells: Cells, arguments: argparse.Namespace, area: float) -> Pictures:
    """The attacked photos of one patch size."""
    place = Place(area, "border", arguments.seed)
    attack = border_attack(arguments, place)
    return Pictures(setup, cells, attack, place)


def cell(setup: Setup, source: Setup | Pictures, defense: Defense, bar: tqdm) -> str:
    """Marks of the photos that the defended net answers correctly."""
    net, found = setup.defended(defense.text), ""
    photos = source.setup if isinstance(source, Pictures) else source
    for number in range(photos.pool.shards):
        images, labels = source.batch(number)
        found += marks(answers(net, images) == labels)
        bar.update(len(labels))
    return found


def reached(setup: Setup, source: Pictures, seed: int) -> str:
    """Marks of the photos that the undefended net takes for the attack's target."""
    found = ""
    for number in range(setup.pool.shards):
        images, labels = setup.batch(number)
        goals = choose_targets("random", logits(setup.net, images), labels, seed=seed, images=images)
        found += marks(answers(setup.net, source.batch(number)[0]) == goals)
    return found


def table(
    setup: Setup, clean: Setup, cells: Cells, arguments: argparse.Namespace, rows: list[Defense]
) -> list[dict[str, Any]]:
    """The rows, their rates in percent with n and interval; ``clean`` holds the photos of the column without attack."""
    sources: dict[str, Setup | Pictures] = {"clean": clean}
    for area, column in zip(AREAS, COLUMNS[1:], strict=True):
        sources[column] = made = pictures(setup, cells, arguments, area)
        made.make()
    more = "" if len(clean.pool) == len(setup.pool) else f", {len(clean.pool)} photos"
    names = {column: column + (more if column == "clean" else "") for column in COLUMNS}
    keys = {(row, column): f"{row.text or 'none'} | {names[column]}" for row in rows for column in COLUMNS}
    photos = {column: len((clean if column == "clean" else setup).pool) for column in COLUMNS}
    missing = sum(photos[column] for (_, column), key in keys.items() if key not in cells)
    with tqdm(total=missing, desc="defenses", unit="photo") as bar:
        measured = {
            (row.name, column): rate(cells.get(key, lambda r=row, c=column: cell(setup, sources[c], r, bar)))
            for (row, column), key in keys.items()
        }
    return [
        {
            "row": row.name,
            "defense": row.text,
            "published": dict(zip(COLUMNS, row.accuracy, strict=True)),
            "measured": {column: measured[row.name, column] for column in COLUMNS},
        }
        for row in rows
    ]


def attack_report(setup: Setup, cells: Cells, arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """For each patch size: how often the undefended net shows the target, and the seconds spent."""
    report = {}
    for area, column in zip(AREAS, COLUMNS[1:], strict=True):
        made = pictures(setup, cells, arguments, area)
        found = cells.get(f"target reached | {column}", lambda made=made: reached(setup, made, arguments.seed))
        report[column] = {"target reached": rate(found), "seconds": round(made.seconds(), 1)}
    return report


def parse() -> argparse.Namespace:
    """The command line."""
    parser = setup_parser(__doc__, limit=LIMIT, out="runs/lgs_table1")
    attack_arguments(parser, STEPS)
    parser.add_argument("--clean-limit", type=int, help="photos of the clean column (default: as many as --limit)")
    rows_option(parser)
    return parser.parse_args()


def main() -> None:
    """Print the table; write it where asked."""
    arguments = parse()
    rows = choose(ROWS, arguments.rows)
    setup = load_setup(arguments)
    clean = setup
    if arguments.clean_limit:
        clean = load_setup(argparse.Namespace(**{**vars(arguments), "limit": arguments.clean_limit}))
    decided = settings(setup, arguments, "attack", "steps", "lr")
    cells = Cells(arguments.out, "table1", decided)
    found = table(setup, clean, cells, arguments, rows)
    report = attack_report(setup, cells, arguments)
    header = [
        f"LGS Table 1, n={len(setup.pool)}",
        *(f"{c}, {kind}" for kind in ("published", "measured") for c in COLUMNS),
    ]
    lines = [
        [r["row"], *(f"{v:.2f}" for v in r["published"].values()), *map(shown, r["measured"].values())] for r in found
    ]
    print(markdown(header, lines))
    for column, facts in report.items():
        share = facts["target reached"]
        print(f"{column}: the undefended net shows the target on {share.count} of {share.n} photos")
    write_rows(arguments.json, found, attack=report, settings=decided, command=command("lgs_table1"))


if __name__ == "__main__":
    main()
