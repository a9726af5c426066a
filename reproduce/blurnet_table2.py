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
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import nn

from blurnet.data.sources.rp2 import authors_weights
from blurnet.data.sources.victims import Victims, load_victims
from blurnet.nets.lisa_cnn import LisaCNN
from blurnet.rates import Rate
from blurnet.zoo.models import list_models, load_model
from reproduce.lineages import ATTACKS, RESULTS, strongest
from reproduce.tables import markdown, root_parser, victims_folder, write_rows

#: Percent. A net below it answers one class whatever it sees: no sticker alters that, so it is counted, not averaged.
COLLAPSED = 50.0

#: Row, shipped model, published alpha, accuracy, average and worst success rate (percent) and dissimilarity.
PUBLISHED = (
    ("baseline", "lisa_cnn", "0", 91.0, 49.18, 90.0, 0.207),
    ("3x3 learned, L-infinity", "lisa_cnn-linf3", "1e-5", 86.3, 30.0, 55.0, 0.201),
    ("5x5 learned, L-infinity", "lisa_cnn-linf5", "0.1", 86.3, 24.11, 47.5, 0.189),
    ("7x7 learned, L-infinity", "lisa_cnn-linf7", "0.1", 87.0, 11.61, 30.0, 0.203),
    ("total variation", "lisa_cnn-tv", "1e-4", 85.6, 7.92, 17.5, 0.224),
    ("total variation", "lisa_cnn-tv1e-5", "1e-5", 82.3, 8.47, 30.0, 0.199),
)


def attacked_row(
    row: tuple[Any, ...], net: nn.Module, accuracy: float | None, victims: Victims, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Attack one net with every setting; the strongest counts."""
    name, model, alpha, published_accuracy, asr, worst, size = row
    net = net.to(memory_format=torch.channels_last)
    best = strongest(net, victims, [*ATTACKS, *extra_attacks(arguments)])
    n, targets = len(victims.labels), len(best["altered"])
    average = Rate.of(sum(best["altered"]), n * targets).as_dict()
    highest = Rate.of(max(best["altered"]), n).as_dict()
    return {
        "row": f"{name} ({alpha})",
        "model": model,
        "published": {"accuracy": published_accuracy, "asr": asr, "worst": worst, "dissimilarity": size},
        "measured": {
            "accuracy": accuracy,
            "asr": average["value"],
            "n": average["n"],
            "asr_interval": [average["low"], average["high"]],
            "worst": highest["value"],
            "worst_interval": [highest["low"], highest["high"]],
            "asr_last_step": Rate.of(sum(best["altered_last"]), n * targets).as_dict()["value"],
            "worst_last_step": Rate.of(max(best["altered_last"]), n).as_dict()["value"],
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


def authors_net(root: Path) -> nn.Module:
    """The RP2 authors' net as released."""
    net = LisaCNN(18).eval()
    net.load_state_dict(authors_weights(root))
    return net


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
    write_rows(arguments.json, rows, lineages=lineages, command="python -m reproduce.blurnet_table2 --root DIR")


if __name__ == "__main__":
    main()
