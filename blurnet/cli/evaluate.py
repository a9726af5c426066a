"""Evaluation from the command line: attack a model, write the report; or put reports side by side."""

import argparse
import dataclasses
import inspect
import sys
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import docstring_parser
import pytorch_lightning as pl
import torch
from jsonargparse import ActionYesNo, ArgumentParser, Namespace

from blurnet.attacks.engine.views import TRANSFORMATIONS
from blurnet.attacks.universal.rp2 import RP2
from blurnet.bounds import Steps
from blurnet.cli.shared import HelpText, one_line_errors, own_arguments, public_command
from blurnet.data.images import ImageTensors
from blurnet.data.module import DATA, SignData, get_data
from blurnet.data.sources.rp2 import printable_colours
from blurnet.data.sources.victims import Victims, load_victims
from blurnet.evaluation.attacks import UNIVERSAL, describe_attacks
from blurnet.evaluation.config import EvaluationConfig
from blurnet.evaluation.images import Pool
from blurnet.evaluation.model import LoadedModel, read_model
from blurnet.evaluation.noise import read_noise
from blurnet.evaluation.plan import Named, Plan, Prepared, carry_out, prepare
from blurnet.evaluation.render.compare import compare
from blurnet.quiet import quiet
from blurnet.strict import JSON, Setting, check_arguments
from blurnet.zoo.parse import parse_defenses

DESCRIPTION = """Attack a model and report how it holds.

  python evaluate.py --model lisa_cnn-tv --victims rp2:DIR --attacks rp2,autopatch --out runs/tv
  ... --data lisa-crops:DIR          also measure accuracy on the test split of this data
  ... --attacks autopatch --on data --limit 200      attack test images one by one, not the victims
  ... --patch mask --mask stickers   write into a mask, not into a square patch free to be placed (--patch 0.05)
  ... --attacks lavan --curve-areas 0.01,0.02,0.1 --curve-steps 10,100      robust accuracy over size and steps
  ... --attacks lavan:lr=0.1:steps=300,pgd           settings of one attack by itself
  ... --targets 12,3 --steps 500 --restarts 3 --lam 0.002     rp2: choose targets, make it stronger
  ... --defenses lgs,jpeg:quality=30     with input transformations in front of the model, which the attacks know
  ... --transfer-from OTHER          also attack with what was made on another model, as it is: --defenses is not its
  ... --noise FILE --noise-target 12 also replay a saved noise
  ... --model timm/resnet18 --weights DEFAULT --data folder:DIR --on data     any net of torchvision or timm
  ... --model my_nets.py:defended    or what a function in your own file returns
  ... --trainer.strategy ddp --trainer.devices 2     share the work among processes; the numbers stay the same
  python evaluate.py --compare REPORT REPORT ... [--out FILE.html]     reports side by side

rp2 makes one noise for all victims; every other attack works on each image by itself, adaptively: it sees the
differentiable surrogates of the model's transformations. The number to quote is the worst case of each image.

Attacks and their own options (--attacks NAME:OPTION=VALUE):
{attacks}

Into --out go report.html (one file, nothing loaded from a network), report.json, summary.md, samples.jsonl (a header,
then a line for each attacked image), five pictures of rp2, and work/, what is finished. A killed run goes on where it
stopped when the same command runs again.

Exit status: 0 the report is written; 2 bad arguments or input, said in one line before any work; 3 the report is
written and the sanity checks raised flags (--allow-flags: 0); 1 the run failed."""

HELD_OUT = 256  #: at most so many images of the val split make the universal patch

#: Arguments of Trainer that make sense here.
TRAINER = ("devices", "num_nodes", "strategy", "precision", "deterministic", "benchmark", "enable_progress_bar")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandLine(EvaluationConfig):
    """What only a command line says: models, data and files by name.

    Args:
        model: A shipped model's name, a model's folder, torchvision/NAME, timm/NAME, or path/to/file.py:function.
        weights: Of a torchvision or timm net: FILE.safetensors, or DEFAULT.
        out: Output folder; one configuration each.
        defenses: Input transformations in front of the model, in this order, such as lgs,jpeg:quality=30.
        data: Data whose test split gives the clean accuracy: synthetic, lisa-crops:DIR, folder:DIR, csv:DIR, ...
        data_args: Further settings of the data, such as '{"num_classes": 1000}'; train.py has them as --data.NAME.
        victims: Images of one class: synthetic, or rp2:DIR.
        mask: Where the attack may write: a mask of the victims, such as stickers or octagon.
        on: Images attacked one by one: the victims, or --data's test split.
        transfer_from: Also attack with what is made on this other model (name or folder).
        noise: Also replay this saved noise: FILE or FILE:KEY (safetensors).
        noise_target: Class that the saved noise was made for; none: untargeted.
        printable: Folder with npstriplets.txt (printable colours), needed with --nps.
        workers: Processes that read images ahead.
        allow_flags: Exit with 0 although sanity checks raised flags.
        device: Where to compute.
    """

    model: str
    weights: str | None = None
    out: str
    defenses: str = ""
    data: str | None = None
    data_args: dict[str, Setting] = dataclasses.field(default_factory=dict)
    victims: str = "synthetic"
    mask: str = "stickers"
    on: Literal["victims", "data"] = "victims"
    transfer_from: str | None = None
    noise: str | None = None
    noise_target: Steps | None = None
    printable: str | None = None
    workers: Steps = 0
    allow_flags: bool = False
    device: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"

    def to_dict(self) -> dict[str, JSON]:
        """For the report: all but the output folder, so that equal runs write equal files wherever they are."""
        return {name: value for name, value in super().to_dict().items() if name != "out"}


def parser(config: type[CommandLine] = CommandLine) -> ArgumentParser:
    """The command line of ``evaluate.py``: the fields of the configuration, RP2's, and the trainer's."""
    description = DESCRIPTION.format(attacks=describe_attacks())
    made = ArgumentParser(prog="evaluate.py", description=description, formatter_class=HelpText)
    hints, texts = typing.get_type_hints(config, include_extras=True), _texts(config)
    fields = [field for field in dataclasses.fields(config) if field.name != "rp2"]
    for field in sorted(fields, key=lambda field: field.name not in ("model", "out")):
        _add_option(made, field, hints[field.name], texts[field.name])
    skipped = {"target", "mask", "printable", "transformations", "restarts", "seed"}
    made.add_class_arguments(RP2, skip=skipped, as_group=True)
    every = set(parameters(pl.Trainer))
    made.add_class_arguments(pl.Trainer, "trainer", skip=every - set(TRAINER))
    made.set_defaults({"trainer.devices": 1})
    return made


def _add_option(made: ArgumentParser, field: "dataclasses.Field[Any]", hint: Any, text: str) -> None:
    option = f"--{field.name.replace('_', '-')}"
    if field.name == "eot":
        text = f"{text} There are: {', '.join(TRANSFORMATIONS)}."
    if hint is bool and field.default is True:
        action = ActionYesNo(yes_prefix="", no_prefix="no-")
        made.add_argument(option, action=action, default=True, help=text)
    elif hint is bool:
        made.add_argument(option, action="store_true", help=text)
    elif field.default_factory is not dataclasses.MISSING:
        made.add_argument(option, type=hint, default=field.default_factory(), help=text)
    elif field.default is dataclasses.MISSING:
        made.add_argument(option, type=hint, required=True, help=text)
    else:
        made.add_argument(option, type=hint, default=field.default, help=text)


def _texts(config: type) -> dict[str, str]:
    """What the docstrings say of each field, one's own before those of the classes it extends."""
    found: dict[str, str] = {}
    for one in config.__mro__:
        parsed = docstring_parser.parse(one.__doc__ or "")
        found = {param.arg_name: param.description or "" for param in parsed.params} | found
    return found


def config_of(namespace: Namespace, kind: type[CommandLine] = CommandLine) -> CommandLine:
    """The typed configuration of a parsed command line."""
    names = [field.name for field in dataclasses.fields(kind) if field.name != "rp2"]
    rp2 = {name: namespace[name] for name in parameters(RP2) if name in namespace and name not in names}
    return kind(**{name: namespace[name] for name in names}, rp2=rp2)


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
    return 3 if report.flags and not config.allow_flags else 0


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
    if any(name != UNIVERSAL for name in names):
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


def parameters(function: Callable[..., Any]) -> list[str]:
    """The names of its parameters."""
    return list(inspect.signature(function).parameters)
