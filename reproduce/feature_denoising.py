"""Xie et al.'s denoising blocks, one operation at a time: an ablation at LISA scale.

    python -m reproduce.feature_denoising --data lisa-crops --root DIR [--rows NAME ...] [--json FILE]
    python -m reproduce.feature_denoising                 # rendered signs, no data needed

LISA-CNN without a block and with :class:`~blurnet.layers.denoise.FeatureDenoise` behind its first two ReLUs, one row an
operation; each trained naturally and with PGD, all from the same start for the same epochs. Then the accuracy on
held-out tracks, and the accuracy under PGD of ``--radius``/255 with a short and a long attack (untargeted, margin loss,
each with steps of 2.5 radius / steps). "gained/lost" pairs the images with the row without a block: how many stand that
fell there, how many fell that stood, and the sign test's p.

Published (the README of their code): ResNet-152 and ResNeXt-101 on ImageNet, adversarially trained with 16/255, under
targeted PGD with 10 and 100 steps. Another task, net, radius and attack: not comparable in level; what can be
compared is the order of the rows, and that blocks come on top of adversarial training. The paper's figures for the
other operations are not in that README, and none are given here.
"""

import argparse
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from blurnet.attacks.ball.pgd import PGD
from blurnet.balls import Ball
from blurnet.training.objectives.table import ObjectiveSpec
from blurnet.zoo.spec import DefenseSpec
from reproduce._common.answers import batched, correct, correct_under
from reproduce._common.arguments import command
from reproduce._common.cells import Cells
from reproduce._common.marks import paired
from reproduce._common.signs import Signs, load_signs, settings, training_parser
from reproduce._common.tables import markdown, shown, write_rows
from reproduce._common.training import trained


@dataclass(frozen=True)
class Block:
    """A row: the block's arguments (None: no block), and accuracies published, clean and under 10 and 100 steps."""

    name: str
    args: dict[str, Any] | None
    published: dict[str, float] | None = None
    net: str = ""

    @property
    def key(self) -> str:
        """Its name in files."""
        return self.name.replace(", ", "-").replace(" ", "_")


#: 100 less the error rates published; ResNeXt-101 has blocks behind every residual block.
ROWS = (
    Block("no block", None, {"clean": 62.3, "short": 52.5, "long": 41.7}, "ResNet-152"),
    Block("convolution alone", {"operation": "none"}),
    Block("mean", {"operation": "mean"}),
    Block("median", {"operation": "median"}),
    Block("bilateral gaussian", {"operation": "bilateral-gaussian", "embed": False}),
    Block("bilateral dot", {"operation": "bilateral-dot", "embed": False}),
    Block("gaussian", {"operation": "gaussian", "embed": False}),
    Block("gaussian, embedded", {"operation": "gaussian"}, {"clean": 65.3, "short": 55.7, "long": 45.5}, "ResNet-152"),
    Block("dot", {"operation": "dot", "embed": False}, {"clean": 68.4, "short": 56.0, "long": 44.4}, "ResNeXt-101"),
    Block("dot, embedded", {"operation": "dot"}),
)

TRAININGS = ("natural", "pgd")
COLUMNS = ("clean", "short", "long")


def objective(training: str, arguments: argparse.Namespace) -> ObjectiveSpec:
    """What a net is trained with."""
    if training == "natural":
        return ObjectiveSpec()
    size = arguments.train_step / 255
    return ObjectiveSpec("pgd", {"radius": arguments.radius / 255, "steps": arguments.train_steps, "step_size": size})


def cell(signs: Signs, cells: Cells, row: Block, training: str, arguments: argparse.Namespace) -> dict[str, str]:
    """Marks of a net's correct answers, clean (all held-out images) and under both attacks."""
    places = () if row.args is None else ("relu1", "relu2")
    defenses = [DefenseSpec("feature_denoise", after=place, args=dict(row.args or {})) for place in places]
    key = f"{training}-{row.key}"
    net = trained(cells, key, signs, arguments, defenses, objective(training, arguments))

    def clean() -> str:
        return batched(signs.held_out, arguments.device, lambda x, y: correct(net, x, y))

    found = {"clean": cells.get(f"{key} | clean", clean)}
    for column, steps in zip(COLUMNS[1:], arguments.steps, strict=True):
        attack = PGD(Ball("linf", arguments.radius / 255), steps, loss="margin", seed=arguments.seed)

        def attacked(attack: PGD = attack) -> str:
            return batched(signs.attacked, arguments.device, lambda x, y: correct_under(net, attack, x, y))

        found[column] = cells.get(f"{key} | {steps} steps | {len(signs.attacked)} images", attacked)
    return found


def table(signs: Signs, cells: Cells, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of both trainings, accuracies in percent with n and interval."""
    chosen = choose(arguments.rows)
    jobs = [(training, row) for training in TRAININGS for row in chosen]
    done = {}
    for training, row in tqdm(jobs, desc="nets", unit="net"):
        done[training, row.name] = cell(signs, cells, row, training, arguments)
    return [_row(signs, row, training, done) for training, row in jobs]


def choose(names: list[str] | None) -> list[Block]:
    """Rows by name in the table's order; None: all but "dot, embedded", which the paper does not use.

    Raises:
        ValueError: an unknown name (lists the rows).
    """
    known = [row.name for row in ROWS]
    if unknown := sorted(set(names or ()) - set(known)):
        raise ValueError(f"no row {', '.join(map(repr, unknown))}; there are: {'; '.join(known)}")
    return [row for row in ROWS if row.name in (known[:-1] if names is None else names)]


def _row(signs: Signs, row: Block, training: str, done: dict[tuple[str, str], dict[str, str]]) -> dict[str, Any]:
    found, without = done[training, row.name], done.get((training, ROWS[0].name))
    compared = None if without is None or row.args is None else {k: paired(found[k], without[k]) for k in COLUMNS}
    return {
        "row": row.name,
        "training": training,
        "published": row.published if training == "pgd" else None,
        "published_net": row.net if training == "pgd" else "",
        "measured": {key: signs.rate(found[key]) for key in COLUMNS},
        "against no block": compared,
    }


def print_table(rows: list[dict[str, Any]], steps: list[int]) -> None:
    """Published beside measured."""
    lines = []
    for row in rows:
        p, m, c = row["published"], row["measured"], row["against no block"]
        counts = (f"+{c['long']['gained']} -{c['long']['lost']} (p {c['long']['p']:.2f})") if c else "-"
        given = "-" if p is None else f"{p['clean']:.1f} / {p['short']:.1f} / {p['long']:.1f} ({row['published_net']})"
        values = [shown(m[k], n=True) for k in COLUMNS]
        lines.append([row["training"], row["row"], given, *values, counts])
    header = ["training", "block", "published: clean / PGD-10 / PGD-100 (ImageNet, compare the order)", "clean"]
    header += [f"PGD-{count}" for count in steps]
    print(markdown([*header, f"gained/lost under PGD-{steps[1]}"], lines))


def verdict(rows: list[dict[str, Any]]) -> list[str]:
    """What the published order comes to here, a line a training."""
    said = []
    for training in TRAININGS:
        compared = {r["row"]: r["against no block"] for r in rows if r["training"] == training}
        differ = {name: c["long"] for name, c in compared.items() if c and c["long"]["p"] < 0.05}
        better = [name for name, c in differ.items() if c["gained"] > c["lost"]]
        worse = [name for name in differ if name not in better]
        if any(compared.values()):
            parts = f"better {', '.join(better) or 'none'}; worse {', '.join(worse) or 'none'}"
            said.append(f"{training} training, long attack, p < 0.05 against no block (one seed): {parts}.")
    return said


def parse() -> argparse.Namespace:
    """The command line."""
    parser = training_parser(__doc__, "runs/feature_denoising", epochs=3, limit=128, radius=8)
    parser.add_argument("--train-steps", type=int, default=4, help="of PGD while training (default: 4)")
    parser.add_argument("--train-step", type=float, default=3, help="their size in 1/255 (default: 3)")
    parser.add_argument(
        "--steps", type=int, nargs=2, default=[20, 100], metavar=("SHORT", "LONG"), help="default: 20 100"
    )
    parser.add_argument("--rows", nargs="+", metavar="NAME", help=f"of: {'; '.join(row.name for row in ROWS)}")
    return parser.parse_args()


def main() -> None:
    """Print the table and what it says; write the rows where asked."""
    arguments = parse()
    signs = load_signs(arguments)
    decided = settings(signs, arguments, "train_steps", "train_step")
    rows = table(signs, Cells(arguments.out, "feature_denoising", decided), arguments)
    print_table(rows, arguments.steps)
    said = verdict(rows)
    print("", *said, sep="\n")
    write_rows(arguments.json, rows, verdict=said, settings=decided, command=command("feature_denoising"))


if __name__ == "__main__":
    main()
