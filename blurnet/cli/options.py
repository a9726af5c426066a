"""The options of ``evaluate.py``: fields of a typed configuration, from which the parser and ``--help`` follow."""

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Any, Literal

import docstring_parser
import pytorch_lightning as pl
from jsonargparse import ActionYesNo, ArgumentParser, Namespace

from blurnet.attacks.engine.views import TRANSFORMATIONS
from blurnet.attacks.universal.rp2 import RP2
from blurnet.bounds import Steps
from blurnet.cli.shared import HelpText
from blurnet.evaluation.attacks import describe_attacks
from blurnet.evaluation.config import EvaluationConfig
from blurnet.strict import JSON, Setting

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

#: Arguments of Trainer that make sense here.
TRAINER = ("devices", "num_nodes", "strategy", "precision", "deterministic", "benchmark", "enable_progress_bar")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandLine(EvaluationConfig):
    """What only a command line says: models, data and files by name.

    Args:
        model: A shipped model's name, a model's folder, torchvision/NAME, timm/NAME, or path/to/file.py:function.
        weights: Of a torchvision or timm net: FILE.safetensors, or DEFAULT.
        out: Output folder; one configuration each.
        defenses: Defenses in front of the model, in this order, such as lgs,jpeg:quality=30; a certified one first,
            as in double_masking:area=0.05,lgs.
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


def parameters(function: Callable[..., Any]) -> list[str]:
    """The names of its parameters."""
    return list(inspect.signature(function).parameters)
