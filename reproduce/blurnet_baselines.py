"""BlurNet's rows beside the defenses that it, and later work, compares with: all under the same three attacks.

    python -m reproduce.blurnet_baselines [--rows NAME ...] [--json FILE]
    python -m reproduce.blurnet_baselines --attack --data lisa-crops --root DIR [--budget quick] [--json FILE]
    python -m reproduce.blurnet_baselines --attack        # rendered stop signs, no data needed

Fixed and learned low-pass filters, total variation and Tikhonov penalties against Gaussian augmentation, adversarial
training (PGD, FGSM, TRADES, logit pairing), occlusion training (DOA), patch training, feature denoising and LGS. The
figures are those of the shipped cards (RP2 on the 40 stop signs of its authors, AutoPatch with 5 %, PGD with 8/255 in
200 steps); a figure that was made with other settings is left out, and a model that is not shipped is listed as
missing. ``--attack`` makes all of them anew with ``evaluate.py``; finished models stay in ``--out``.

Published: Table 2 of BlurNet, for its own rows; its averages are not over one consistent set of targets. Its text also
compares with Gaussian augmentation and PGD training, but those figures are not at hand and none are given. Its abstract
claims that an adaptive attack's success falls from 90 % to 20 % with total variation.
"""

import argparse
from pathlib import Path
from typing import Any

from blurnet.attacks.autopatch import AutoPatch
from blurnet.attacks.ball.pgd import PGD
from blurnet.attacks.universal.rp2 import RP2
from blurnet.balls import Ball
from blurnet.cli import evaluate_main
from blurnet.evaluation.report.cards import with_report
from blurnet.evaluation.report.report import read_report
from blurnet.masks import rp2_stickers
from blurnet.rates import Rate
from blurnet.zoo.card import Card, ImageFigures
from blurnet.zoo.models import list_models, load_model
from reproduce._common.arguments import add_json, add_out, command, crops_folder, new_parser, victims_folder
from reproduce._common.cells import Cells
from reproduce._common.table2 import PUBLISHED
from reproduce._common.tables import markdown, shown, write_rows

BASELINE, BLURNET, OTHERS = "no defense", "BlurNet", "others"

#: Models by group, with what they are called.
ROWS: dict[str, tuple[str, str]] = {
    "lisa_cnn": (BASELINE, "baseline"),
    "lisa_cnn-input3": (BLURNET, "input filter 3x3"),
    "lisa_cnn-input5": (BLURNET, "input filter 5x5"),
    "lisa_cnn-lowpass3": (BLURNET, "fixed low-pass 3x3"),
    "lisa_cnn-lowpass5": (BLURNET, "fixed low-pass 5x5"),
    "lisa_cnn-linf3": (BLURNET, "learned 3x3, L-infinity"),
    "lisa_cnn-linf5": (BLURNET, "learned 5x5, L-infinity"),
    "lisa_cnn-linf7": (BLURNET, "learned 7x7, L-infinity"),
    "lisa_cnn-tv": (BLURNET, "total variation, 1e-4"),
    "lisa_cnn-tv1e-5": (BLURNET, "total variation, 1e-5"),
    "lisa_cnn-tikhonov-hf": (BLURNET, "Tikhonov, high frequencies"),
    "lisa_cnn-tikhonov-pinv": (BLURNET, "Tikhonov, pseudo-inverse"),
    "lisa_cnn-gaussian": (OTHERS, "Gaussian augmentation"),
    "lisa_cnn-pgd": (OTHERS, "PGD adversarial training"),
    "lisa_cnn-fgsm": (OTHERS, "FGSM mixture"),
    "lisa_cnn-trades": (OTHERS, "TRADES"),
    "lisa_cnn-alp": (OTHERS, "adversarial logit pairing"),
    "lisa_cnn-doa": (OTHERS, "occlusion training (DOA)"),
    "lisa_cnn-doa-tv": (OTHERS, "DOA with total variation"),
    "lisa_cnn-patch": (OTHERS, "patch training"),
    "lisa_cnn-denoise": (OTHERS, "feature denoising"),
    "lisa_cnn-denoise-pgd": (OTHERS, "feature denoising with PGD training"),
    "lisa_cnn-lgs": (OTHERS, "local gradients smoothing"),
    "lisa_cnn-patch-doa": (OTHERS, "patch training, then DOA"),
}

#: Published accuracy, RP2's average and worst success, percent, by model.
TABLE_2 = {row[1]: {"accuracy": row[3], "average": row[4], "worst": row[5]} for row in PUBLISHED}

#: The settings that figures of cards must have been made with; reprs of attacks.
SETTINGS: dict[str, str] = {
    "rp2": repr(RP2(None, rp2_stickers(), steps=150, lr=0.2, lam=0.002, loss="margin")),
    "autopatch": repr(AutoPatch(area=0.05)),
    "pgd": repr(PGD(Ball("linf", 8 / 255), steps=200, loss="margin")),
}
VICTIMS = {"rp2": "40 victims of rp2, mask stickers", "autopatch": "40 images of rp2 victims"}
VICTIMS["pgd"] = VICTIMS["autopatch"]


def from_card(card: Card) -> dict[str, Any]:
    """The figures of a card that were made with :data:`SETTINGS`; None for others, which "left out" names."""
    found, left = figures(card), []
    for attack, wanted in SETTINGS.items():
        made = card.rp2 if attack == "rp2" else card.under(attack)
        on = None if made is None else made.images if isinstance(made, ImageFigures) else made.victims
        if made is None or (made.settings, on) != (wanted, VICTIMS[attack]):
            found[attack] = None
            left.append(f"{attack}: {'not in the card' if made is None else 'other settings or victims'}")
    return found | {"left out": left}


def figures(card: Card) -> dict[str, Any]:
    """Accuracy, RP2's success and robust accuracies of a card, in percent with n and interval; None: not measured."""
    rp2 = None
    if card.rp2 is not None:
        rp2 = {"average": _plain(card.rp2.average), "worst": _plain(card.rp2.worst)}
    each = {
        name: None if (under := card.under(name)) is None else _plain(under.robust) for name in ("autopatch", "pgd")
    }
    return {"accuracy": _plain(card.clean), "clean set": card.clean_set, "rp2": rp2, **each}


def _plain(rate: Rate | None) -> dict[str, Any] | None:
    return None if rate is None else rate.as_dict()


def attack_again(name: str, card: Card, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of a model attacked here and now by ``evaluate.py``."""
    out = options.out / name
    data, victims = "synthetic", "synthetic"
    if options.data == "lisa-crops":
        data = f"lisa-crops:{crops_folder(options.root)}"
        victims = f"rp2:{victims_folder(options.root)}"
    limit = [] if options.limit is None else ["--limit", str(options.limit)]
    steps = [] if options.image_steps is None else ["--image-steps", str(options.image_steps)]
    evaluate_main(
        ["--model", name, "--data", data, "--victims", victims, "--attacks", "rp2,autopatch,pgd"]
        + ["--steps", str(options.steps), "--loss", "margin", "--lr", "0.2", "--lam", "0.002"]
        + ["--budget", options.budget, *limit, *steps, "--targets", options.targets]
        + ["--out", str(out), "--no-sanity", "--trainer.enable_progress_bar", "false"]
    )
    return figures(with_report(card, read_report(out))) | {"left out": []}


def table(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row a model; models that are not shipped have no figures."""
    shipped = list_models()
    chosen = ("data", "limit", "steps", "image_steps", "budget", "targets")
    cells = (
        Cells(options.out, "baselines", {name: getattr(options, name) for name in chosen}) if options.attack else None
    )
    rows = []
    for name in choose(options.rows):
        group, title = ROWS[name]
        measured, source = None, "missing: not shipped"
        if name in shipped:
            card, source = load_model(name).card, "card"
            if cells is None:
                measured = from_card(card)
            else:
                compute = lambda name=name, card=card: attack_again(name, card, options)  # noqa: E731
                measured, source = cells.get(f"{name} {card.sha256[:16]}", compute), "attacked"
        rows.append(
            {"row": title, "model": name, "group": group, "published": TABLE_2.get(name)}
            | {"measured": measured, "source": source}
        )
    return rows


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """What decides the figures: the attacks of the cards, or the options of ``--attack``."""
    if not options.attack:
        return dict(SETTINGS)
    return {name: getattr(options, name) for name in ("data", "limit", "steps", "image_steps", "budget", "targets")}


def choose(names: list[str] | None) -> list[str]:
    """Models of the table in its order; all for None.

    Raises:
        ValueError: a name that is not in the table (lists it).
    """
    if unknown := sorted(set(names or ()) - set(ROWS)):
        raise ValueError(f"no row {', '.join(unknown)}; there are: {', '.join(ROWS)}")
    return [name for name in ROWS if names is None or name in names]


def print_table(rows: list[dict[str, Any]]) -> None:
    """Published beside measured."""
    lines = []
    for row in rows:
        p, m = row["published"], row["measured"] or {}
        given = "-" if p is None else " / ".join(f"{p[key]:.1f}" for key in ("accuracy", "average", "worst"))
        rp2 = m.get("rp2") or {}
        values = [m.get("accuracy"), rp2.get("average"), rp2.get("worst"), m.get("autopatch"), m.get("pgd")]
        lines.append([row["group"], row["row"], row["model"], given, *map(_shown, values), row["source"]])
    header = ["group", "defense", "model", "published: accuracy / RP2 average / worst", "accuracy"]
    header += ["RP2 alters, average", "worst target", "stands: AutoPatch 5 %", "stands: PGD 8/255", "figures from"]
    print(markdown(header, lines))


def _shown(rate: dict[str, Any] | None) -> str:
    return shown(None if rate is None else Rate(**rate), n=True)


def verdict(rows: list[dict[str, Any]]) -> list[str]:
    """For each attack the best row of either group beside the baseline; then what is missing."""
    said = []
    for title, pick, sign in (
        ("RP2 (altered on average)", lambda m: (m["rp2"] or {}).get("average"), -1),
        ("AutoPatch (standing)", lambda m: m["autopatch"], 1),
        ("PGD (standing)", lambda m: m["pgd"], 1),
    ):
        parts = []
        for group in (BASELINE, BLURNET, OTHERS):
            able = [(r["model"], pick(r["measured"])) for r in rows if r["group"] == group and r["measured"]]
            able = [(model, rate) for model, rate in able if rate is not None]
            if able:
                model, rate = max(able, key=lambda pair, sign=sign: sign * pair[1]["value"])
                best = "" if group == BASELINE else "best of "
                parts.append(f"{best}{group}: {_shown(rate)} ({model})")
        if parts:
            said.append(f"{title}: {'; '.join(parts)}.")
    if missing := [row["model"] for row in rows if row["measured"] is None]:
        said.append(f"Not shipped: {', '.join(missing)}.")
    left = {row["model"]: row["measured"]["left out"] for row in rows if row["measured"]}
    return said + [f"{model}: left out {'; '.join(names)}." for model, names in left.items() if names]


def parse() -> argparse.Namespace:
    """The command line."""
    parser = new_parser(__doc__)
    parser.add_argument("--attack", action="store_true", help="attack again instead of reading cards")
    parser.add_argument(
        "--data",
        choices=("synthetic", "lisa-crops"),
        default="synthetic",
        help="of --attack: signs (default: rendered)",
    )
    parser.add_argument("--root", type=Path, help="of lisa-crops: a folder that holds lisa-crops/ and rp2-lisa/")
    parser.add_argument("--rows", nargs="+", metavar="MODEL", help="models of the table (default: all)")
    parser.add_argument("--limit", type=int, help="victims attacked one by one at most (default: all 40)")
    parser.add_argument("--steps", type=int, default=150, help="of RP2 (default: 150)")
    parser.add_argument("--targets", default="all", help='of RP2: "all" or numbers with commas (default: all)')
    parser.add_argument("--image-steps", type=int, help="of PGD (default: by --budget)")
    parser.add_argument("--budget", choices=("quick", "standard", "full"), default="standard", help="of AutoPatch, PGD")
    add_out(parser, "runs/blurnet_baselines", "what --attack has finished")
    add_json(parser)
    arguments = parser.parse_args()
    if arguments.attack and (arguments.data == "lisa-crops") != (arguments.root is not None):
        parser.error("--root goes with --data lisa-crops")
    return arguments


def main() -> None:
    """Print the table and what it says; write the rows where asked."""
    arguments = parse()
    rows = table(arguments)
    print_table(rows)
    said = verdict(rows)
    print("", *said, sep="\n")
    write_rows(arguments.json, rows, verdict=said, settings=settings(arguments), command=command("blurnet_baselines"))


if __name__ == "__main__":
    main()
