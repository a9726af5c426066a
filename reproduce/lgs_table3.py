"""Table 3 of LGS's paper: every defense attacked by someone who knows it, in three ways side by side.

    python -m reproduce.lgs_table3 --data-root DIR [--limit N] [--steps N] [--budget quick|standard] [--json FILE]

- "identity": the attack of Table 1 with BPDA as the paper runs it: forward through the defense, backward as if it were
  not there;
- "surrogate": the same attack with the gradient of the defense's own differentiable stand-in;
- "AutoPatch": the worst case of a suite of attacks with both gradients, untargeted.

All three put a square of 2 % of the image (42 x 42 pixels at 299 x 299) at the same random place on each photo's
border; ``--place anywhere`` lets AutoPatch search for its own. Success is counted on the photos that the defended net
answers correctly without a patch: any wrong answer, and in brackets the random target that the first two are after,
which is what the paper counts. The first line says whether LGS's published 18 % survives. Finished batches stay in
``--out``.

Published: Inception v3, 1000 photos, at most 1000 steps. The paper's text has digital watermarking know the patch's
place, its caption has it search; here it searches. Told the place it takes every pixel of the patch away, and there is
nothing to attack.
"""

import argparse
from collections import Counter
from typing import Any

from torch import Tensor, nn
from tqdm import tqdm

from blurnet.attacks.autopatch import AutoPatch
from blurnet.attacks.engine.targets import choose_targets
from blurnet.masks import Place
from blurnet.rates import Rate
from blurnet.transforms.base import adaptive, identity_bpda
from reproduce._common.answers import answers, correct, logits
from reproduce._common.arguments import command
from reproduce._common.cells import Cells
from reproduce._common.lgs import (
    COMPARED_ROWS,
    Defense,
    attack_arguments,
    border_attack,
    choose,
    compared,
    rows_option,
)
from reproduce._common.marks import marks, rate
from reproduce._common.photos import Setup, load_setup, settings, setup_parser
from reproduce._common.tables import markdown, shown, write_rows

#: Success of LaVAN with BPDA in percent, by row of Table 1.
PUBLISHED = compared(88.0, 18.0, 25.6, 75.0, 73.3, 78.1, 83.0)
LGS_ROW = "LGS, lambda 2.3"

COLUMNS = ("identity", "surrogate", "AutoPatch")
AREA = 0.02

#: Photos and steps by default: what two CPU cores finish in about half an hour.
LIMIT, STEPS = 16, 100

Result = dict[str, Any]


def attacked(setup: Setup, net: nn.Module, column: str, images: Tensor, labels: Tensor, options: Any) -> Result:
    """What an attack in one of the three ways does to photos that the net answers correctly."""
    place = Place(AREA, "border", options.seed)
    stages: list[str] = []
    if column == "AutoPatch":
        where = {"mask": place.masks(images)} if options.place == "border" else {"area": AREA}
        more = {} if net is setup.net else {"source": setup.net, "views": (identity_bpda(net),)}
        suite = AutoPatch(**where, budget=options.budget, seed=options.seed, **more)  # type: ignore[arg-type]
        record = suite.record(adaptive(net), images, labels)
        adversarial = record.adversarial
        stages = [suite.stage_names[stage] if stage >= 0 else "standing" for stage in record.stage.tolist()]
    else:
        seen = identity_bpda(net) if column == "identity" else adaptive(net)
        adversarial = border_attack(options, place)(seen, images, labels)
    found = answers(net, adversarial)
    goals = choose_targets("random", logits(net, images), labels, seed=options.seed, images=images)
    return {"wrong": marks(found != labels), "target": marks(found == goals), "stages": stages}


def cell(setup: Setup, cells: Cells, row: Defense, column: str, options: Any, bar: tqdm) -> Result:
    """Marks, after an attack, of the photos that the defended net answers correctly; kept batch by batch."""
    # Without a defense, and where the stand-in is the identity, both gradients are one.
    if column == "surrogate" and row.text.partition(":")[0] in ("", "bit_depth"):
        column = "identity"
    net, total = setup.defended(row.text), {"wrong": "", "target": "", "stages": [], "n": 0}
    for number in range(setup.pool.shards):

        def attack(number: int = number) -> Result:
            images, labels = setup.batch(number)
            kept = correct(net, images, labels)
            nothing: Result = {"wrong": "", "target": "", "stages": []}
            some = bool(kept.any())
            done = attacked(setup, net, column, images[kept], labels[kept], options) if some else nothing
            return {**done, "n": len(labels)}

        part = cells.get(f"{row.text or 'none'} | {column} | {number}", attack)
        total = {key: value + part[key] for key, value in total.items()}
        bar.update(part["n"])
    return total


def table(setup: Setup, cells: Cells, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows, success rates in percent with n and interval."""
    chosen = choose(COMPARED_ROWS, options.rows)
    rows = []
    with tqdm(total=len(chosen) * len(COLUMNS) * len(setup.pool), desc="attacks", unit="photo") as bar:
        for row in chosen:
            done = {column: cell(setup, cells, row, column, options, bar) for column in COLUMNS}
            rows.append(_row(row, done))
    return rows


def _row(row: Defense, done: dict[str, Result]) -> dict[str, Any]:
    photos = next(iter(done.values()))["n"]
    each = zip(*(done[column]["wrong"] for column in COLUMNS), strict=True)
    worst = "".join("1" if "1" in flags else "0" for flags in each)
    wrong = {column: _rate(done[column]["wrong"]) for column in COLUMNS} | {"worst": _rate(worst)}
    target = {column: _rate(done[column]["target"]) for column in COLUMNS[:2]}
    return {
        "row": row.name,
        "defense": row.text,
        "published": PUBLISHED[row.name],
        "measured": {
            "accuracy": Rate.of(len(worst), photos),
            "any wrong answer": wrong,
            "target": target,
            "stages": dict(Counter(done["AutoPatch"]["stages"])),
        },
    }


def _cells(measured: dict[str, Any]) -> list[str]:
    """Accuracy, then success by column, in brackets the target's."""
    wrong, target = measured["any wrong answer"], measured["target"]
    each = [shown(wrong[key]) + (f" ({_percent(target[key])})" if key in target else "") for key in wrong]
    return [shown(measured["accuracy"]), *each]


def _rate(text: str) -> Rate | None:
    return rate(text) if text else None


def _percent(value: Rate | None) -> str:
    return "-" if value is None else f"{value.value:.1f}"


def verdict(rows: list[dict[str, Any]]) -> str:
    """Whether the published success rate against LGS survives; by the worst of the three attacks on each photo."""
    published = PUBLISHED[LGS_ROW]
    row = next((row for row in rows if row["row"] == LGS_ROW), None)
    worst = None if row is None else row["measured"]["any wrong answer"]["worst"]
    if row is None or worst is None:
        return (
            f"LGS's published {published:g} % was not tested: its row was left out, or no photo is answered correctly."
        )
    answer = "survives" if worst.high <= published else "is neither refuted nor confirmed"
    answer = "does not survive" if worst.low > published else answer
    rates = row["measured"]["any wrong answer"]
    each = ", ".join(f"{column} {rates[column].percent}" for column in COLUMNS)
    return (
        f"LGS's published {published:g} % {answer}: attackers who know it fool {worst.percent} "
        f"[{worst.low:.0f}, {worst.high:.0f}] of {worst.n} photos ({each})."
    )


def parse() -> argparse.Namespace:
    """The command line."""
    parser = setup_parser(__doc__, limit=LIMIT, batch=8, out="runs/lgs_table3")
    attack_arguments(parser, STEPS)
    parser.add_argument("--budget", choices=("quick", "standard"), default="quick", help="of AutoPatch")
    parser.add_argument(
        "--place",
        choices=("border", "anywhere"),
        default="border",
        help="of AutoPatch's square (default: the border, as the others)",
    )
    rows_option(parser)
    return parser.parse_args()


def main() -> None:
    """Print the verdict and the table; write them where asked."""
    arguments = parse()
    setup = load_setup(arguments)
    decided = settings(setup, arguments, "attack", "steps", "lr", "budget", "place")
    rows = table(setup, Cells(arguments.out, "table3", decided), arguments)
    said = verdict(rows)
    lines = [[row["row"], f"{row['published']:.1f}", *_cells(row["measured"])] for row in rows]
    header = ["LGS Table 3: attack success (target reached)", "published", "accuracy, clean"]
    print(f"{said}\n")
    print(markdown([*header, *COLUMNS, "worst of the three"], lines))
    write_rows(arguments.json, rows, verdict=said, settings=decided, command=command("lgs_table3"))


if __name__ == "__main__":
    main()
