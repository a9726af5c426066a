"""From trained runs to ``models/``: choose, evaluate, write cards and the leaderboard.

    python -m tools.ship --root DIR [NAME=RUN_FOLDER ...] [NAME ...]

The baseline comes first, by name: ``lisa_cnn=RUN_FOLDER``. Without names: for every row of ``reproduce.lineages`` the
net whose average success rate is lowest, over both lineages and all seeds, among those whose accuracy is at most 6
points below the baseline's. ``evaluate.py`` then attacks each, and its report and figures go into the card. A model
that was evaluated stays as it is; delete its folder to redo it, or name it alone to evaluate it again.

    python -m tools.ship --root DIR --behind double_masking:area=0.05:masks=6 NAME=RUN_FOLDER

ships the nets behind further defenses. Of a certified defense the evaluation also states what is proven, and attacks
the rest.

    python -m tools.ship --root DIR --held-out 64 [NAME ...]

attacks shipped models (without names: all) on that many held-out images of all classes, and does nothing else.

    python -m tools.ship --render

writes what is generated from the cards again: every README, card.json in the present format, and the leaderboard.
"""

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from blurnet.certified.base import CertifiedModel
from blurnet.cli import evaluate_main
from blurnet.evaluation.render.leaderboard import leaderboard_svg
from blurnet.evaluation.report.cards import add_held_out, add_report
from blurnet.evaluation.report.report import Report, read_report
from blurnet.files import write_atomic
from blurnet.zoo.build import put_in_front
from blurnet.zoo.card import Card, Published
from blurnet.zoo.describe import call
from blurnet.zoo.models import list_models, load_model, models_root, save_model, write_card
from blurnet.zoo.parse import parse_defenses
from blurnet.zoo.readme import render_leaderboard
from blurnet.zoo.spec import DefenseSpec
from reproduce._common.table2 import PUBLISHED, RESULTS

START = "lisa_cnn-synthetic"  # the other net that runs start from
MARGIN = 6.0  # points of clean accuracy a defense may cost
SOURCE = "Raju & Lipasti, BlurNet, Table 2 (another data split and another net of the same architecture)"
AUTHORS = (
    "Fine-tuned from the RP2 authors' weights (MIT licence, see NOTICE), which were trained on LISA: they may have "
    "seen tracks that are held out here, so the clean accuracy may flatter this model."
)
CHOICE = "The best of its row over seeds and lineages on the same victims; means over seeds: reproduce.blurnet_table2."
#: RP2 at the strongest of the settings that reproduce.rp2_sweep compares at this cost; the rest without settings. What
#: the sanity checks find stands in the card.
ON_VICTIMS = ("--attacks", "rp2,autopatch,pgd", "--steps", "150", "--loss", "margin", "--lr", "0.2", "--lam", "0.002")
ALLOWED = ("--allow-flags",)
#: Of a certified defense. Each of its calls costs many views, so that RP2 takes fewer steps, which the card says.
PROVEN = ("--certify", "--no-attack-certified")
FEWER = ("--steps", "40", "--no-sanity")
ON_DATA = ("--on", "data", "--attacks", "autopatch", "--no-sanity")

OUT = Path("runs/ship")


def main() -> None:
    """Ship what is missing, then write the leaderboard."""
    arguments = parse()
    if arguments.render:
        render()
    elif arguments.held_out:
        for name in arguments.models or list_models():
            evaluate_held_out(name, arguments.root, arguments.held_out)
    else:
        ship_all(arguments.models, arguments.runs, arguments.root, parse_defenses(arguments.behind))
    write_leaderboard()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder that holds rp2-lisa/ and lisa-crops/")
    parser.add_argument("--render", action="store_true", help="only write again what is generated from the cards")
    parser.add_argument("--runs", type=Path, default=Path("runs/lineages"), help="where reproduce.lineages wrote")
    parser.add_argument("--behind", default="", metavar="DEFENSES", help="put the models that are shipped behind these")
    parser.add_argument("--held-out", type=int, metavar="N", help="attack N held-out images of shipped models instead")
    parser.add_argument("models", nargs="*", metavar="NAME[=RUN]", help="models to ship; default: the best rows")
    arguments = parser.parse_args()
    if arguments.root is None and not arguments.render:
        parser.error("--root is required")
    return arguments


def ship_all(models: list[str], runs: Path, root: Path, behind: list[DefenseSpec]) -> None:
    """Evaluate again what is named alone, and ship what is named with its run and has no report yet."""
    chosen = dict(text.split("=", 1) for text in models if "=" in text) if models else best_of_rows(runs)
    for name in (text for text in models if "=" not in text):
        add_report(models_root() / name, evaluate(name, root))
        show(name)
    for name, run in chosen.items():
        if not (models_root() / name / "report.json").exists():
            ship(name, Path(run), root, behind)
        show(name)


def show(name: str) -> None:
    """A line for the log."""
    figures = load_model(name).card.rp2
    print(name, "no RP2 figures" if figures is None else figures.average, flush=True)


def render() -> None:
    """Write the README and card.json of every shipped model."""
    for name in list_models():
        write_card(models_root() / name, load_model(name).card)


def write_leaderboard() -> None:
    """Write the table and the picture of all shipped models, from their cards."""
    cards = [load_model(name).card for name in list_models()]
    write_atomic(models_root() / "README.md", render_leaderboard(cards))
    write_atomic(models_root() / "leaderboard.svg", leaderboard_svg(cards))


def best_of_rows(runs: Path) -> dict[str, str]:
    """For every row the run to ship."""
    results: list[dict[str, Any]] = json.loads(RESULTS.read_text())
    rows: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        if not result["name"]:  # a name marks a trial of other settings
            rows.setdefault(result["row"], []).append(result)
    baseline = load_model("lisa_cnn").card.clean.value
    best = {}
    for row, candidates in rows.items():
        able = [result for result in candidates if result["accuracy"] >= baseline - MARGIN]
        if able and row != "lisa_cnn":  # the baseline is trained longer, and shipped by name
            winner = min(able, key=lambda result: sum(result["altered"]))
            best[row] = str(runs / winner["lineage"] / f"{row}-seed{winner['seed']}")
    return best


def ship(name: str, run: Path, root: Path, behind: list[DefenseSpec]) -> None:
    """Copy the run's model, behind further defenses where there are some, attack it, and complete its card."""
    net = load_model(run / "model")
    spec, card = replace(net.spec, defenses=[*behind, *net.spec.defenses]), net.card
    if behind:
        names = [defense.name for defense in behind] + ([] if card.defense == "none" else [card.defense])
        calls = ", ".join(call(defense.name, defense.args) for defense in behind)
        card = replace(card, defense="+".join(names), title=f"{card.title}, behind {calls}")
    folder = save_model(put_in_front(net, behind), models_root() / name, spec=spec, card=card)
    add_report(folder, evaluate(name, root), **origin(name, card, run))


def origin(name: str, card: Card, run: Path) -> dict[str, Any]:
    """What the card of a shipped model says of where it comes from, in place of the run's own words."""
    notes = [CHOICE] if "lineages" in str(run) else []
    changes: dict[str, Any] = {
        "command": re.sub(r"--config (\S*/)?(\S+\.yaml)", r"--config configs/train/\2", card.command)
    }
    if "rp2_authors" in card.lineage:
        changes["lineage"] = "fine-tuned from the RP2 authors' weights"
        notes.append(AUTHORS)
    elif card.lineage == "fine-tuned from model.safetensors":
        changes["lineage"] = f"fine-tuned from {START}"
    for _, model, _, accuracy, average, worst, size in PUBLISHED:
        if model == name:
            changes["published"] = Published(SOURCE, accuracy, average, worst, size)
    return changes | {"notes": notes}


def evaluate(name: str, root: Path) -> Report:
    """Attack a shipped model on the 40 victims."""
    proven = _proven(name)
    return _evaluated(name, root, OUT / name, *ON_VICTIMS, *ALLOWED, *proven, *(FEWER if proven else ()))


def evaluate_held_out(name: str, root: Path, n: int) -> None:
    """Attack a shipped model on held-out images of all classes and put the figures into its card."""
    options = *ON_DATA, *_proven(name), "--limit", str(n)
    add_held_out(models_root() / name, _evaluated(name, root, OUT / f"{name}-held-out", *options))


def _proven(name: str) -> tuple[str, ...]:
    return PROVEN if isinstance(load_model(name), CertifiedModel) else ()


def _evaluated(name: str, root: Path, out: Path, *options: str) -> Report:
    dataset = load_model(name).card.dataset
    data = "synthetic" if dataset == "synthetic" else f"lisa-crops:{root / 'lisa-crops'}"
    images = ["--data", data, "--victims", f"rp2:{root / 'rp2-lisa'}"]
    evaluate_main(["--model", name, *images, *options, "--out", str(out)])
    return read_report(out)


if __name__ == "__main__":
    main()
