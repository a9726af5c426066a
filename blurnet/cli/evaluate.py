"""Evaluation from the command line: attack a model, write the report; or put reports side by side."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
from jsonargparse import ActionYesNo, ArgumentParser
from jsonargparse.typing import NonNegativeInt, PositiveInt

from blurnet.attacks.engine.views import TRANSFORMATIONS
from blurnet.attacks.universal.rp2 import RP2
from blurnet.cli.prepare import Evaluation, parameters, prepare
from blurnet.cli.shared import HelpText, one_line_errors, own_arguments, public_command, quiet
from blurnet.evaluation.attack_table import ATTACKS, Budget
from blurnet.evaluation.compare import compare
from blurnet.evaluation.examine import examine, suspects
from blurnet.evaluation.gallery import kept_images
from blurnet.evaluation.html import write_html
from blurnet.evaluation.pictures import draw_pictures
from blurnet.evaluation.report import build_report, write_report
from blurnet.evaluation.summary import markdown

DESCRIPTION = """Attack a model and report how it holds.

  python evaluate.py --model lisa_cnn-tv --victims rp2:DIR --attacks rp2,autopatch --out runs/tv
  ... --data lisa-crops:DIR          also measure accuracy on the test split of this data
  ... --attacks autopatch --on data --limit 200      attack test images one by one, not the victims
  ... --patch mask --mask stickers   write into a mask, not into a square patch free to be placed (--patch 0.05)
  ... --attacks lavan --curve-areas 0.01,0.02,0.1 --curve-steps 10,100      robust accuracy over size and steps
  ... --targets 12,3 --steps 500 --restarts 3 --lam 0.002     rp2: choose targets, make it stronger
  ... --defenses lgs,jpeg:quality=30     with input transformations in front of the model, which the attacks know
  ... --transfer-from OTHER          also attack with what was made on another model, as it is: --defenses is not its
  ... --noise FILE --noise-target 12 also replay a saved noise
  ... --trainer.strategy ddp --trainer.devices 2     share the work among processes; the numbers stay the same
  python evaluate.py --compare REPORT REPORT ... [--out FILE.html]     reports side by side

rp2 makes one noise for all victims; every other attack works on each image by itself, adaptively: it sees the
differentiable surrogates of the model's transformations. The number to quote is the worst case of each image.

Into --out go report.html (one file, nothing loaded from a network), report.json, summary.md, samples.jsonl (a header,
then a line for each attacked image), five pictures of rp2, and work/, what is finished. A killed run goes on where it
stopped when the same command runs again.

Exit status: 0 the report is written; 2 bad arguments or input, said in one line before any work; 3 the report is
written and the sanity checks raised flags (--allow-flags: 0); 1 the run failed."""

Device = Literal["auto", "cpu", "gpu", "cuda", "mps"]

#: Arguments of Trainer that make sense here.
TRAINER = ("devices", "num_nodes", "strategy", "precision", "deterministic", "benchmark", "enable_progress_bar")


OPTIONS: tuple[tuple[str, Any, Any, str], ...] = (
    ("--defenses", str, "", "Input transformations in front of the model, in this order, such as lgs,jpeg:quality=30."),
    ("--data", str | None, None, "Data whose test split gives the clean accuracy: synthetic, lisa-crops:DIR, ..."),
    ("--victims", str, "synthetic", "Images of one class: synthetic, or rp2:DIR."),
    ("--mask", str, "stickers", "Where the attack may write: a mask of the victims, such as stickers or octagon."),
    ("--attacks", str, "rp2", f"Attacks, with commas: rp2 (one noise for all victims), {', '.join(ATTACKS)}."),
    ("--on", Literal["victims", "data"], "victims", "Images attacked one by one: the victims, or --data's test split."),
    ("--limit", PositiveInt | None, None, "At most so many of them, from one seeded shuffle."),
    ("--patch", str, "0.05", "A square patch's share of the image, free to be placed; or mask: write into --mask."),
    ("--budget", Budget, "standard", "How hard the attacks image by image try."),
    ("--image-steps", PositiveInt | None, None, "Their steps or queries; none: by --budget."),
    ("--eps", str, "8/255", "linf radius of attacks on the whole image."),
    ("--curve-areas", str, "", "Also attack with patches of these shares of the image, for a curve."),
    ("--curve-steps", str, "", "Also attack with these numbers of steps, for a curve."),
    ("--shard", PositiveInt, 32, "Images attacked side by side, and lost at most when a run is killed."),
    ("--keep-images", NonNegativeInt, 12, "Adversarial images of the first so many are kept for the report."),
    ("--targets", str, "all", "Classes to reach: all (but the victims' own), untargeted, or numbers such as 12,3."),
    ("--chunk", PositiveInt, 4, "Targets attacked side by side in one batch."),
    ("--transfer-from", str | None, None, "Also replay the attack made on this other model (name or folder)."),
    ("--noise", str | None, None, "Also replay this saved noise: FILE or FILE:KEY (safetensors)."),
    ("--noise-target", NonNegativeInt | None, None, "Class that the saved noise was made for; none: untargeted."),
    ("--eot", str, "", f"Random transformations in RP2: {', '.join(TRANSFORMATIONS)}; with values as rotation=20."),
    ("--printable", str | None, None, "Folder with npstriplets.txt (printable colours), needed with --nps."),
)


def parser() -> ArgumentParser:
    """The command line of ``evaluate.py``."""
    made = ArgumentParser(prog="evaluate.py", description=DESCRIPTION, formatter_class=HelpText)
    made.add_argument("--model", type=str, required=True, help="Name of a shipped model, or a model's folder.")
    made.add_argument("--out", type=str, required=True, help="Output folder; one configuration each.")
    for name, kind, default, text in OPTIONS:
        made.add_argument(name, type=kind, default=default, help=text)
    made.add_argument(
        "--adaptive",
        action=ActionYesNo(yes_prefix="", no_prefix="no-"),
        default=True,
        help="Attacks see the surrogate gradients of the model's transformations.",
    )
    made.add_argument(
        "--sanity",
        action=ActionYesNo(yes_prefix="", no_prefix="no-"),
        default=True,
        help="Check for masked gradients; the report says where that was left out.",
    )
    made.add_argument("--allow-flags", action="store_true", help="Exit with 0 although sanity checks raised flags.")
    made.add_argument("--device", type=Device, default="auto", help="Where to compute.")
    skipped = {"target", "mask", "printable", "transformations"}
    made.add_class_arguments(RP2, skip=skipped, as_group=True)
    every = set(parameters(pl.Trainer))
    made.add_class_arguments(pl.Trainer, "trainer", skip=every - set(TRAINER))
    made.set_defaults({"trainer.devices": 1})
    return made


def evaluate_main(args: Sequence[str] | None = None) -> int:
    """Run an evaluation with these arguments (None: the command line's).

    Returns:
        0, or 3 where the sanity checks raised flags that were not allowed.

    Raises:
        SystemExit: status 2 for wrong arguments and bad input, after one line on stderr and before any work.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    if "--compare" in arguments:
        return compare_main(arguments)
    config = parser().parse_args(arguments)
    with quiet(), own_arguments(arguments):
        with one_line_errors("evaluate.py"):
            evaluation = prepare(config, public_command("evaluate.py", arguments))
        report = evaluate(evaluation)
    return 3 if report.get("flags") and not evaluation.allow_flags else 0


def evaluate(evaluation: Evaluation) -> dict[str, Any]:
    """Do what is not done yet, write the report into the output folder, and return it (empty on other processes)."""
    robustness, images, trainer = evaluation.robustness, evaluation.images, evaluation.trainer
    place = trainer.global_rank, trainer.world_size
    if evaluation.data is not None and robustness.clean is None:
        trainer.test(robustness, datamodule=evaluation.data, verbose=False)
    if robustness.jobs:
        trainer.test(robustness, dataloaders=robustness.job_loader(*place), verbose=False)
    if images is not None:
        trainer.test(images, dataloaders=images.job_loader(*place), verbose=False)
    return write(evaluation) if trainer.is_global_zero else {}


def write(evaluation: Evaluation) -> dict[str, Any]:
    """Write the report of a finished evaluation into its folder and return it."""
    robustness, images = evaluation.robustness, evaluation.images
    outcomes = images.outcomes() if images else ()
    found = (images, outcomes) if images else None
    rows = _examined(evaluation)
    report = build_report(robustness.results(), robustness, evaluation.subject, images=found, sanity=rows)
    pictures = draw_pictures(robustness.folder, robustness)
    write_html(robustness.folder, report, kept_images(*found) if found else (), pictures)
    write_report(robustness.folder, report, robustness, outcomes)
    print(markdown(report))
    return report


def _examined(evaluation: Evaluation) -> list[dict[str, Any]] | None:
    """What the sanity checks say; None where they were left out."""
    if not evaluation.sanity:
        return None
    robustness, images = evaluation.robustness, evaluation.images
    listed = suspects(robustness, images, evaluation.subject.mask, evaluation.seed, evaluation.source)
    return examine(listed, robustness.folder, evaluation.trainer.strategy.root_device)


def compare_main(arguments: Sequence[str]) -> int:
    """``evaluate.py --compare REPORT...``: print reports side by side, and write them as HTML where asked to."""
    made = argparse.ArgumentParser(prog="evaluate.py", description="Put reports side by side.")
    made.add_argument("--compare", nargs="+", required=True, metavar="REPORT", help="report.json, or its folder")
    made.add_argument("--out", type=Path, default=None, metavar="FILE.html", help="also write an HTML page")
    chosen = made.parse_args(arguments)
    with one_line_errors("evaluate.py"):
        print(compare(chosen.compare, chosen.out))
    return 0
