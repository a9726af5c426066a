"""Evaluation from the command line: attack a model, write the report; or put reports side by side."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from blurnet.cli.options import CommandLine, config_of, parameters, parser
from blurnet.cli.shared import one_line_errors, own_arguments, public_command
from blurnet.data.images import ImageTensors
from blurnet.data.module import DATA, SignData, get_data
from blurnet.data.sources.rp2 import printable_colours
from blurnet.data.sources.victims import Victims, load_victims
from blurnet.evaluation.attacks import UNIVERSAL
from blurnet.evaluation.images import Pool
from blurnet.evaluation.model import LoadedModel, read_model
from blurnet.evaluation.noise import read_noise
from blurnet.evaluation.plan import Named, Plan, Prepared, carry_out, prepare
from blurnet.evaluation.render.compare import compare
from blurnet.evaluation.report.certified import BROKEN
from blurnet.quiet import quiet
from blurnet.strict import Setting, check_arguments
from blurnet.zoo.parse import parse_defenses

HELD_OUT = 256  #: at most so many images of the val split make the universal patch


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
    namespace = parser().parse_args(arguments)
    with quiet(), own_arguments(arguments):
        with one_line_errors("evaluate.py"):
            config = config_of(namespace)
            prepared = load(config)
        options = namespace.trainer.as_dict()
        progress = options.pop("enable_progress_bar") is not False
        command = public_command("evaluate.py", arguments)
        report = carry_out(
            prepared, command, device=config.device, progress=progress, workers=config.workers, **options
        )
        if report is None:
            return 0
        report.save(prepared.evaluation.folder)
        print(report)
    broken = any(flag.name == BROKEN for flag in report.flags)  # our bug, which no option excuses
    return 3 if broken or (report.flags and not config.allow_flags) else 0


def load(config: CommandLine) -> Prepared:
    """Load and check everything that a command line names; only the output folder is written."""
    model = read_model(config.model, config.weights).behind(parse_defenses(config.defenses))
    data = None if config.data is None else _data(config.data, model, config.data_args)
    if model.classes is None:
        if data is None:
            raise ValueError(f"--model {config.model} does not name its classes: give --data, and --on data")
        model = dataclasses.replace(model, classes=tuple(data.classes))
    classes = model.classes or ()
    plan = Plan(config=config, model=model)
    names = [choice.name for choice in plan.choices]
    victims = _victims(config, names, classes, model.image_size)
    plan = dataclasses.replace(
        plan,
        clean=None if data is None else Pool(data.split("test"), classes, _data_name(config.data or ""), shard=256),
        victims=None if victims is None else _pool_of(victims, shard=len(victims.images)),
        masks={} if victims is None else victims.masks,
        mask=config.mask,
        source=None if config.transfer_from is None else _source(config, classes),
        held_out=_held_out(config, names, data, classes),
        printable=None if config.printable is None else printable_colours(config.printable),
        data=config.data if not config.data_args else f"{config.data} {config.data_args}",
    )
    if config.certify or any(name != UNIVERSAL for name in names):
        plan = dataclasses.replace(plan, images=_images(config, victims, data, classes))
    if config.noise is not None:
        plan = dataclasses.replace(plan, replay=read_noise(config.noise, config.noise_target, plan.chosen_mask()))
    return prepare(plan, config.out)


def _victims(
    config: CommandLine, names: list[str], classes: tuple[str, ...], size: tuple[int, int] | None
) -> Victims | None:
    """The victims at the model's size, where anything needs them."""
    if config.on == "data" and UNIVERSAL not in names and config.noise is None and config.patch != "mask":
        return None
    victims = load_victims(config.victims, image_size=size or 32)
    return victims.numbered_as(classes)


def _pool_of(victims: Victims, limit: int | None = None, shard: int = 32) -> Pool:
    held = ImageTensors(victims.images, victims.labels, victims.classes)
    return Pool(held, victims.classes, f"{victims.name} victims", limit, shard)


def _images(config: CommandLine, victims: Victims | None, data: SignData | None, classes: tuple[str, ...]) -> Pool:
    """The images that are attacked one by one."""
    if config.on == "data":
        if data is None:
            raise ValueError("--on data: name the data with --data")
        return Pool(data.split("test"), classes, _data_name(config.data or ""), config.limit, config.shard)
    if victims is None:
        raise ValueError("--on victims: there are none")
    return _pool_of(victims, config.limit, config.shard)


def _source(config: CommandLine, classes: tuple[str, ...]) -> Named:
    if config.noise is not None:
        raise ValueError("give --transfer-from or --noise, not both: a report holds one transfer")
    source = read_model(config.transfer_from or "", config.weights if "/" in config.model else None)
    if source.classes is not None and source.classes != classes:
        raise ValueError(f"--transfer-from {config.transfer_from}: its classes differ from those of {config.model}")
    return Named(source.net, source.name)


def _held_out(
    config: CommandLine, names: list[str], data: SignData | None, classes: tuple[str, ...]
) -> tuple[torch.Tensor, torch.Tensor, str] | None:
    """Images that are not attacked, their labels, and what they are called, where an attack is made on such."""
    if data is None or config.data is None or "universal-patch" not in names:
        return None
    name = f"{config.data.partition(':')[0]} (val)"
    pool = Pool(data.split("val"), classes, name, HELD_OUT)
    return *pool.read(range(len(pool))), f"{len(pool)} images of {name}"


def _data_name(text: str) -> str:
    return f"{text.partition(':')[0]} (test)"


def _data(text: str, model: LoadedModel, given: dict[str, Setting]) -> SignData:
    """The data at the model's own size and fit, and in its numbering where it knows several (17 or 18 outputs)."""
    make, _ = DATA.get(text.partition(":")[0], (None, False))
    options: dict[str, Any] = dict(given)
    if model.classes is not None and len(model.classes) in (17, 18) and make and "outputs" in parameters(make):
        options["outputs"] = len(model.classes)
    if make is not None:
        options = check_arguments(make, options, "--data-args", given=("root", "image_size", "fit"))
    fit: Any = model.fit
    data = get_data(text, image_size=model.image_size, fit=fit, **options)
    data.setup("test")
    if model.classes is not None and data.classes != model.classes:
        raise ValueError(f"--data {text}: its classes are {data.classes}, the model's {model.classes}")
    return data


def compare_main(arguments: Sequence[str]) -> int:
    """``evaluate.py --compare REPORT...``: print reports side by side, and write them as HTML where asked to."""
    made = argparse.ArgumentParser(prog="evaluate.py", description="Put reports side by side.")
    made.add_argument("--compare", nargs="+", required=True, metavar="REPORT", help="report.json, or its folder")
    made.add_argument("--out", type=Path, default=None, metavar="FILE.html", help="also write an HTML page")
    chosen = made.parse_args(arguments)
    with one_line_errors("evaluate.py"):
        print(compare(chosen.compare, chosen.out))
    return 0
