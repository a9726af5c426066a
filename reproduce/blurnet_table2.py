"""BlurNet's Table 2, the white-box evaluation: shipped checkpoints, and every row over seeds in two lineages.

    python -m reproduce.blurnet_table2 --root DIR [--json FILE] [--no-attack]

First the RP2 authors' net as released and the shipped checkpoints, attacked here and now: RP2 on the 40 victims, every
other class as a target, the attacker knowing the defense. Then means and ranges over training seeds from
``results/lineages.json``, which ``reproduce.lineages`` measured: lineage "a" fine-tuned from the RP2 authors' weights,
"b" from scratch.

Two counts of success stand side by side. "strongest step": of each target's run the step that altered most signs.
"last step": the noise that the published protocol keeps. BlurNet's own figures are of the second kind.
"""

import argparse
import json
from statistics import mean
from typing import Any

import torch
from torch import nn

from blurnet.data.sources.victims import Victims, load_victims
from blurnet.rates import Rate
from blurnet.zoo.models import list_models, load_model
from reproduce._common.arguments import command, root_parser, victims_folder
from reproduce._common.rp2 import ATTACKS, authors_net, strongest
from reproduce._common.table2 import PUBLISHED, RESULTS
from reproduce._common.tables import markdown, write_rows

#: Percent. A net below it answers one class whatever it sees: no sticker alters that, so it is counted, not averaged.
COLLAPSED = 50.0


def attacked_row(
    row: tuple[Any, ...], net: nn.Module, accuracy: float | None, victims: Victims, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Attack one net with every setting; the strongest counts."""
    name, model, alpha, published_accuracy, asr, worst, size = row
    net = net.to(memory_format=torch.channels_last)
    best = strongest(net, victims, [*ATTACKS, *extra_attacks(arguments)])
    n, targets = len(victims.labels), len(best["altered"])
    average, highest = Rate.pooled(sum(best["altered"]), n * targets, n), Rate.of(max(best["altered"]), n)
    return {
        "row": f"{name} ({alpha})",
        "model": model,
        "published": {"accuracy": published_accuracy, "asr": asr, "worst": worst, "dissimilarity": size},
        "measured": {
            "accuracy": accuracy,
            "asr": average.value,
            "n": average.n,
            "asr_interval": [average.low, average.high],
            "worst": highest.value,
            "worst_interval": [highest.low, highest.high],
            "asr_last_step": Rate.of(sum(best["altered_last"]), n * targets).value,
            "worst_last_step": Rate.of(max(best["altered_last"]), n).value,
            "dissimilarity": round(best["dissimilarity"], 3),
            "attack": best["attack"],
        },
    }


def extra_attacks(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The attacks that the command line adds to those of the lineages."""
    if arguments.steps is None:
        return []
    return [
        {"steps": arguments.steps, "restarts": arguments.restarts, "lam": lam, "loss": loss}
        for lam in arguments.lam
        for loss in ("cross-entropy", "margin")
    ]


def print_shipped(rows: list[dict[str, Any]]) -> None:
    """Published beside measured, one row a checkpoint."""
    lines = []
    for row in rows:
        p, m = row["published"], row["measured"]
        low, high = m["asr_interval"]
        lines.append(
            [
                row["row"],
                row["model"],
                f"{p['accuracy']:.1f} / {'-' if m['accuracy'] is None else format(m['accuracy'], '.1f')}",
                f"{p['asr']:.1f} / {m['asr']:.1f} [{low:.0f}, {high:.0f}]",
                f"{m['asr_last_step']:.1f}",
                f"{p['worst']:.1f} / {m['worst']:.1f} (n=40)",
                f"{p['dissimilarity']:.3f} / {m['dissimilarity']:.3f}",
            ]
        )
    header = ["Table 2, shipped (published / measured)", "model", "accuracy", "average altered, strongest step"]
    print(markdown([*header, "last step", "worst target", "dissimilarity"], lines))


def lineage_rows(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and range over seeds of every row in every lineage."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault((result["lineage"], result["name"] or result["row"]), []).append(result)
    return [_group(lineage, name, runs) for (lineage, name), runs in groups.items()]


def _group(lineage: str, name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    def spread(values: list[float]) -> dict[str, float]:
        return {"mean": round(mean(values), 2), "low": round(min(values), 2), "high": round(max(values), 2)}

    def percent(key: str, pick: Any) -> dict[str, float]:
        return spread([2.5 * pick(run[key]) for run in runs])

    collapsed = [run["seed"] for run in runs if run["accuracy"] < COLLAPSED]
    runs = [run for run in runs if run["seed"] not in collapsed]
    row = {"row": f"{lineage}/{name}", "seeds": len(runs), "collapsed_seeds": collapsed}
    if not runs:
        return {**row, "measured": None}
    return {
        **row,
        "measured": {
            "accuracy": spread([run["accuracy"] for run in runs]),
            "asr": percent("altered", mean),
            "worst": percent("altered", max),
            "asr_last_step": percent("altered_last", mean),
            "worst_last_step": percent("altered_last", max),
            "dissimilarity": spread([run["dissimilarity"] for run in runs]),
        },
    }


def print_lineages(rows: list[dict[str, Any]]) -> None:
    """Mean [lowest, highest] over seeds."""

    def shown(row: dict[str, Any], key: str) -> str:
        if row["measured"] is None:
            return "-"
        value = row["measured"][key]
        return f"{value['mean']:.1f} [{value['low']:.1f}, {value['high']:.1f}]"

    keys = ("accuracy", "asr", "asr_last_step", "worst", "worst_last_step")
    lines = [
        [row["row"], f"{row['seeds']} (+{len(row['collapsed_seeds'])})", *(shown(row, key) for key in keys)]
        for row in rows
    ]
    header = [
        "lineage/row, mean [range] over seeds",
        "seeds (+ collapsed)",
        "accuracy",
        "average altered, strongest step",
    ]
    print(markdown([*header, "average, last step", "worst target", "worst, last step"], lines))


def main() -> None:
    """Print both tables; write them where asked."""
    parser = root_parser(__doc__)
    parser.add_argument("--steps", type=int, help="also attack with so many steps, by both losses")
    parser.add_argument("--restarts", type=int, default=1, help="starts of these attacks; the best counts")
    parser.add_argument("--lam", type=float, nargs="+", default=[0.002], help="weights of the norm in these attacks")
    parser.add_argument("--no-attack", action="store_true", help="print the lineages only")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if not arguments.no_attack:
        root = victims_folder(arguments.root)
        victims = load_victims(f"rp2:{root}")
        first = ("baseline, as released", "the RP2 authors' net", *PUBLISHED[0][2:])
        nets = [(first, authors_net(root), None)]
        shipped = [(row, load_model(row[1])) for row in PUBLISHED if row[1] in list_models()]
        for row, net, accuracy in [*nets, *((row, net, net.card.clean.value) for row, net in shipped)]:
            print(f"attacking {row[1]} ...", flush=True)
            rows.append(attacked_row(row, net, accuracy, victims, arguments))
        print_shipped(rows)
        print()
    lineages = lineage_rows(json.loads(RESULTS.read_text()))
    print_lineages(lineages)
    write_rows(arguments.json, rows, lineages=lineages, command=command("blurnet_table2"))


if __name__ == "__main__":
    main()
