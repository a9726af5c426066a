"""Table 2 of LGS's paper: one adversarial patch for all photos, 10 % of the image, shown to every defense.

    python -m reproduce.lgs_table2 --data-root DIR [--train N] [--limit N] [--steps N] [--json FILE]

A square patch (95 x 95 pixels at 299 x 299) that shows ``--target`` (859, toaster) is trained on some of the photos in
expectation over its places, and put on the others, each at a place of its own. The published accuracies are those on
pictures that the undefended net calls toaster with at least 90 % confidence; here, of photos that it answers correctly
without the patch. Beside them stand all of these that it calls toaster, however surely, and all photos that the patch
was not trained on. The trained patch is kept in ``--out``, which also spares finished rows a second run.

Published: Inception v3, 1000 pictures "carefully created"; whether their patches were turned is not said.
"""

import argparse
from typing import Any

from torch import Tensor
from tqdm import tqdm

from blurnet.attacks.universal.adversarial_patch import AdversarialPatch
from blurnet.attacks.universal.patch import Patch
from blurnet.attacks.universal.poses import Poses
from reproduce._common.answers import correct, logits
from reproduce._common.arguments import command
from reproduce._common.cells import Cells
from reproduce._common.lgs import COMPARED_ROWS, choose, compared, rows_option
from reproduce._common.marks import marks, rate, rate_among
from reproduce._common.photos import Setup, load_setup, settings, setup_parser
from reproduce._common.tables import markdown, shown, write_rows

#: Accuracy in percent on pictures taken for a toaster, by row of Table 1.
PUBLISHED = compared(0.0, 90.5, 80.0, 49.1, 45.0, 1.0, 0.0)

#: Share of the image, 95 x 95 pixels of 299 x 299.
AREA = 0.1

#: Photos in all, photos to train on, and steps, by default: within half an hour on two CPU cores.
LIMIT, TRAIN, STEPS = 500, 200, 800


#: Clean images, the same with the patch, labels: one batch.
Part = tuple[Tensor, Tensor, Tensor]


class Photos:
    """The first photos to train on and the rest to measure on; those of the target's class are left out."""

    def __init__(self, setup: Setup, train: int, target: int) -> None:
        images, labels = setup.everything()
        images, labels = images[labels != target], labels[labels != target]
        if not 0 < train < len(labels):
            raise ValueError(f"--train: expected from 1 to {len(labels) - 1} of the photos, got {train}")
        self.train, self.test = (images[:train], labels[:train]), (images[train:], labels[train:])


def patch_of(setup: Setup, cells: Cells, attack: AdversarialPatch, photos: Photos) -> Patch:
    """The trained patch: the one that is kept, if any."""

    def train() -> dict[str, Tensor]:
        found = attack.train(setup.net, *photos.train, progress=True)
        return {"pixels": found.pixels.cpu(), "mask": found.mask.cpu()}

    kept = cells.tensors("patch", train)
    return Patch(kept["pixels"], kept["mask"], attack.target, attack.area, {"attack": repr(attack)})


def fooled(setup: Setup, parts: list[Part], target: int, least: float) -> str:
    """Marks of the photos correct without the patch that the undefended net takes for the target, this confidently."""
    found = ""
    for clean, patched, labels in parts:
        chance, predicted = logits(setup.net, patched).softmax(dim=1).max(dim=1)
        found += marks(correct(setup.net, clean, labels) & (predicted == target) & (chance >= least))
    return found


def table(setup: Setup, cells: Cells, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows, their rates in percent with n and interval."""
    poses = Poses(rotation=arguments.rotation)
    attack = AdversarialPatch(
        arguments.target, AREA, "square", poses=poses, steps=arguments.steps, lr=arguments.lr, seed=arguments.seed
    )
    photos = Photos(setup, arguments.train, arguments.target)
    patch = patch_of(setup, cells, attack, photos)
    patch.save(arguments.out / "patch.png")
    batches = zip(*(t.split(arguments.batch) for t in photos.test), strict=True)
    parts = [(x, patch.apply(x, poses, seed=arguments.seed), y) for x, y in batches]
    chosen = {
        name: cells.get(name, lambda least=least: fooled(setup, parts, arguments.target, least))
        for name, least in ((f"confident {arguments.confidence:g}", arguments.confidence), ("fooled", 0.0))
    }
    rows = []
    for row in tqdm(choose(COMPARED_ROWS, arguments.rows), desc="defenses", unit="row"):
        net, key = setup.defended(row.text), row.text or "none"
        patched = cells.get(key, lambda n=net: "".join(marks(correct(n, x, y)) for _, x, y in parts))
        clean = cells.get(f"{key} | clean", lambda n=net: "".join(marks(correct(n, x, y)) for x, _, y in parts))
        confident, any_fooled = (rate_among(patched, kept) for kept in chosen.values())
        rates = {"confident": confident, "fooled": any_fooled, "patched": rate(patched), "clean": rate(clean)}
        rows.append(
            {
                "row": row.name,
                "defense": row.text,
                "published": PUBLISHED[row.name],
                "measured": rates,
            }
        )
    return rows


def parse() -> argparse.Namespace:
    """The command line."""
    parser = setup_parser(__doc__, limit=LIMIT, out="runs/lgs_table2")
    parser.add_argument("--target", type=int, default=859, help="class that the patch shows (default: 859, toaster)")
    parser.add_argument("--train", type=int, default=TRAIN, help=f"photos that it is trained on (default: {TRAIN})")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of 16 photos each (default: {STEPS})")
    parser.add_argument("--lr", type=float, default=0.05, help="Adam's step in pixel units (default: 0.05)")
    parser.add_argument("--rotation", type=float, default=0.0, help="largest turn in degrees (default: 0)")
    parser.add_argument("--confidence", type=float, default=0.9, help="of the pictures that count (default: 0.9)")
    rows_option(parser)
    return parser.parse_args()


def main() -> None:
    """Print the table; write it where asked."""
    arguments = parse()
    setup = load_setup(arguments)
    decided = settings(setup, arguments, "target", "train", "steps", "lr", "rotation")
    rows = table(setup, Cells(arguments.out, "table2", decided), arguments)
    header = ["LGS Table 2", "published", f"measured: fooled with {arguments.confidence:.0%}"]
    lines = [[row["row"], f"{row['published']:.1f}", *map(shown, row["measured"].values())] for row in rows]
    print(markdown([*header, "fooled at all", "all photos, patched", "all photos, clean"], lines))
    decided["confidence"] = arguments.confidence
    write_rows(arguments.json, rows, settings=decided, command=command("lgs_table2"))


if __name__ == "__main__":
    main()
