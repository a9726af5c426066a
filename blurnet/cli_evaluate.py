"""Evaluation from the command line: attack a model, write the report."""

import inspect
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt
from pytorch_lightning.callbacks import Callback, TQDMProgressBar
from torch import nn

from blurnet.attacks.eot import TRANSFORMATIONS
from blurnet.attacks.rp2 import RP2
from blurnet.checks import check_writable
from blurnet.cli_shared import HelpText, one_line_errors, own_arguments, public_command, quiet
from blurnet.data.module import get_data
from blurnet.data.rp2 import printable_colours
from blurnet.data.sign_data import SignData
from blurnet.data.victims import Victims, load_victims
from blurnet.evaluation.campaign import Campaign
from blurnet.evaluation.choices import choose_mask, match_classes, parse_eot, parse_targets, replay
from blurnet.evaluation.pictures import draw_pictures
from blurnet.evaluation.report import Subject, build_report, markdown, write_report
from blurnet.evaluation.robustness import Robustness
from blurnet.zoo.files import write_atomic
from blurnet.zoo.models import load_model

DESCRIPTION = """Attack a model and report how it holds.

  python evaluate.py --model lisa_cnn-tv --victims rp2:DIR --attacks rp2 --out runs/tv
  ... --data lisa-crops:DIR          also measure accuracy on the test split of this data
  ... --targets 12,3 --steps 500 --restarts 3 --lam 0.002     choose targets, make the attack stronger
  ... --transfer-from OTHER          also make the attack on another model and replay it on this one
  ... --noise FILE --noise-target 12 also replay a saved noise

Into --out go report.json, summary.md, samples.jsonl (one line for each attacked image), five pictures, and work/, the
adversarial images of each finished target. A killed run goes on where it stopped when the same command runs again.

Exit status: 0 the report is written; 2 bad arguments or input, said in one line before any work; 1 the run failed."""

Device = Literal["auto", "cpu", "gpu", "cuda", "mps"]

#: Arguments of Trainer that make sense here.
TRAINER = ("devices", "num_nodes", "strategy", "precision", "deterministic", "benchmark", "enable_progress_bar")


OPTIONS: tuple[tuple[str, Any, Any, str], ...] = (
    ("--data", str | None, None, "Data whose test split gives the clean accuracy: synthetic, lisa-crops:DIR, ..."),
    ("--victims", str, "synthetic", "What is attacked: synthetic, or rp2:DIR."),
    ("--mask", str, "stickers", "Where the attack may write: a mask of the victims, such as stickers or octagon."),
    ("--attacks", str, "rp2", "Attacks, with commas: rp2."),
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
    made.add_argument("--device", type=Device, default="auto", help="Where to compute.")
    skipped = {"target", "mask", "printable", "transformations"}
    made.add_class_arguments(RP2, skip=skipped, as_group=True)
    every = set(_parameters(pl.Trainer))
    made.add_class_arguments(pl.Trainer, "trainer", skip=every - set(TRAINER))
    made.set_defaults({"trainer.devices": 1})
    return made


@dataclass(frozen=True)
class Evaluation:
    """Everything that is checked before the work begins."""

    robustness: Robustness
    data: SignData | None
    trainer: pl.Trainer
    subject: Subject


def evaluate_main(args: Sequence[str] | None = None) -> int:
    """Run an evaluation with these arguments (None: the command line's); returns 0.

    Raises:
        SystemExit: status 2 for wrong arguments and bad input, after one line on stderr and before any work.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    config = parser().parse_args(arguments)
    with quiet(), own_arguments(arguments):
        with one_line_errors("evaluate.py"):
            evaluation = prepare(config, public_command("evaluate.py", arguments))
        evaluate(evaluation)
    return 0


def prepare(config: Namespace, command: str) -> Evaluation:
    """Load and check everything that a parsed command line names; only the output folder is written."""
    model = load_model(config.model)
    classes = _classes(model)
    victims = match_classes(load_victims(config.victims), classes)
    data = None if config.data is None else _data(config.data, classes)
    campaigns = [make(config, victims) for make in _attacks(config.attacks)] + _transfers(config, victims, classes)
    out = check_writable(config.out)
    robustness = Robustness(model, victims, campaigns, out)
    _claim(out, {"model": robustness.identity, "data": config.data, "work": robustness.names})
    spec = getattr(model, "spec", None)
    subject = Subject(
        command=command,
        model=_name(model, config.model),
        sha256=getattr(getattr(model, "card", None), "sha256", "") or robustness.identity,
        spec=None if spec is None else spec.to_dict(),
        data=None if config.data is None else f"{config.data.partition(':')[0]} (test)",
        mask=config.mask,
    )
    return Evaluation(robustness, data, _trainer(config, out), subject)


def evaluate(evaluation: Evaluation) -> dict[str, Any]:
    """Do what is not done yet, write the report into the output folder, and return it."""
    robustness, trainer = evaluation.robustness, evaluation.trainer
    if evaluation.data is not None and robustness.clean is None:
        trainer.test(robustness, datamodule=evaluation.data, verbose=False)
    trainer.test(robustness, dataloaders=robustness.job_loader(trainer.global_rank, trainer.world_size), verbose=False)
    report = build_report(robustness.results(), robustness, evaluation.subject)
    if trainer.is_global_zero:
        draw_pictures(robustness.folder, robustness)
        write_report(robustness.folder, report, robustness)
        print(markdown(report))
    return report


def _rp2(config: Namespace, victims: Victims) -> Campaign:
    settings = {name: config[name] for name in _parameters(RP2) if name in config and name not in ("mask", "printable")}
    attack = RP2(
        target=None,
        mask=choose_mask(config.mask, victims),
        printable=None if config.printable is None else printable_colours(config.printable),
        transformations=parse_eot(config.eot),
        **settings,
    )
    return Campaign("rp2", attack, parse_targets(config.targets, victims), chunk=config.chunk)


#: Attacks by name: configuration and victims to a campaign.
ATTACKS: dict[str, Callable[[Namespace, Victims], Campaign]] = {"rp2": _rp2}


def _attacks(text: str) -> list[Callable[[Namespace, Victims], Campaign]]:
    names = text.split(",")
    if unknown := [name for name in names if name not in ATTACKS]:
        raise ValueError(f"--attacks: unknown {', '.join(map(repr, unknown))}; there are: {', '.join(ATTACKS)}")
    return [ATTACKS[name] for name in dict.fromkeys(names)]


def _transfers(config: Namespace, victims: Victims, classes: tuple[str, ...]) -> list[Campaign]:
    if config.noise is not None and config.transfer_from is not None:
        raise ValueError("give --transfer-from or --noise, not both: a report holds one transfer")
    if config.noise is not None:
        return [replay(config.noise, config.noise_target, choose_mask(config.mask, victims))]
    if config.transfer_from is None:
        return []
    source = load_model(config.transfer_from)
    if _classes(source) != classes:
        raise ValueError(f"--transfer-from {config.transfer_from}: its classes differ from those of {config.model}")
    made = _attacks(config.attacks)[0](config, victims)
    name = _name(source, config.transfer_from)
    return [Campaign(made.name, made.attack, made.targets, source, name, made.chunk)]


def _data(text: str, classes: tuple[str, ...]) -> SignData:
    """The data, in the model's numbering where it knows several (17 or 18 outputs)."""
    data = get_data(text)
    if len(classes) in (17, 18) and "outputs" in _parameters(type(data)):
        data = get_data(text, outputs=len(classes))
    data.setup("test")
    if data.classes != classes:
        raise ValueError(f"--data {text}: its classes are {data.classes}, the model's {classes}")
    return data


def _claim(out: Path, configuration: dict[str, Any]) -> None:
    """Note what this folder is for; refuse one that was begun with something else."""
    path = out / "work" / "configuration.json"
    if path.is_file():
        found = json.loads(path.read_text())
        differing = [key for key in configuration if found.get(key) != configuration[key]]
        if differing:
            what = {"work": "attacks, targets, victims or strength"}
            listed = ", ".join(what.get(key, key) for key in differing)
            raise ValueError(f"{out} holds an evaluation with other {listed}; give a new --out, or delete it")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(configuration, indent=2) + "\n")


def _trainer(config: Namespace, out: Path) -> pl.Trainer:
    options = config.trainer.as_dict()
    bar: list[Callback] = [] if options["enable_progress_bar"] is False else [TQDMProgressBar()]
    return pl.Trainer(
        **options,
        accelerator="gpu" if config.device == "cuda" else config.device,
        callbacks=bar,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=out,
    )


def _classes(model: nn.Module) -> tuple[str, ...]:
    return tuple(model.classes)  # type: ignore[arg-type]


def _name(model: nn.Module, given: str) -> str:
    return getattr(getattr(model, "card", None), "name", "") or Path(given).name


def _parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)
