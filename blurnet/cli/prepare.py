"""From parsed arguments of ``evaluate.py`` to everything that is checked before the work begins."""

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from jsonargparse import Namespace
from pytorch_lightning.callbacks import Callback, TQDMProgressBar
from torch import Tensor, nn

from blurnet.attacks.universal.rp2 import RP2
from blurnet.checks import check_writable
from blurnet.data.images import ImageTensors
from blurnet.data.module import SignData, get_data
from blurnet.data.sources.rp2 import printable_colours
from blurnet.data.sources.victims import Victims, load_victims
from blurnet.evaluation.attack_table import ATTACKS, Options, image_campaigns
from blurnet.evaluation.campaign import Campaign, fingerprint
from blurnet.evaluation.choices import (
    choose_mask,
    match_classes,
    parse_area,
    parse_eot,
    parse_fraction,
    parse_numbers,
    parse_targets,
    replay,
)
from blurnet.evaluation.defenses import check_gradients, defenses_part, put_in_front
from blurnet.evaluation.per_image import PerImage
from blurnet.evaluation.pool import Pool
from blurnet.evaluation.report import Subject, adaptive_part
from blurnet.evaluation.robustness import Robustness
from blurnet.files import write_atomic
from blurnet.transforms.base import adaptive, identity_bpda, transforms_of
from blurnet.zoo.models import load_model
from blurnet.zoo.parse import parse_defenses

HELD_OUT = 256  #: at most so many images of the val split make the universal patch
UNIVERSAL = "rp2"  #: the attack with one noise for all victims; all others work image by image


@dataclass(frozen=True)
class Evaluation:
    """Everything that is checked before the work begins."""

    robustness: Robustness
    images: PerImage | None
    data: SignData | None
    trainer: pl.Trainer
    subject: Subject
    seed: int = 0
    source: nn.Module | None = None  #: another model, for transfer
    sanity: bool = True  #: run the sanity checks
    allow_flags: bool = False


def prepare(config: Namespace, command: str) -> Evaluation:
    """Load and check everything that a parsed command line names; only the output folder is written."""
    names = attack_names(config.attacks)
    added = parse_defenses(config.defenses)
    loaded = load_model(config.model)
    model, classes = put_in_front(loaded, added), _classes(loaded)
    if not config.adaptive:
        check_gradients(model, names, [name for name, entry in ATTACKS.items() if entry.blind])
    victims = _victims(config, names, classes)
    data = None if config.data is None else _data(config.data, classes)
    transforms = transforms_of(model)
    attacked = adaptive(model) if transforms and config.adaptive else None
    source = None if config.transfer_from is None else _source(config, classes)
    universal = _universal(config, names, victims, source)
    single = _single(config, names, victims, model, source, _held_out(names, data, classes, config.data))
    pool = _pool(config, victims, data, classes) if single else None
    out = check_writable(config.out)
    robustness = Robustness(model, victims, universal, out, attacked=attacked, classes=len(classes))
    images = None if pool is None else PerImage(model, pool, single, out, attacked=attacked, keep=config.keep_images)
    work = [*robustness.names, *(images.names if images else ())]
    spec = getattr(model, "spec", None)
    defenses = defenses_part(spec, added)
    claim = {"model": fingerprint(loaded), "defenses": defenses["added"], "data": config.data, "work": work}
    _claim(out, claim)
    subject = Subject(
        command=command,
        model=_name(model, config.model),
        sha256=getattr(getattr(model, "card", None), "sha256", "") or robustness.identity,
        spec=None if spec is None else spec.to_dict(),
        data=None if config.data is None else _data_name(config.data),
        mask=config.mask,
        adaptive=adaptive_part(config.adaptive, [repr(transform) for transform in transforms]),
        defenses=defenses,
    )
    return Evaluation(
        robustness, images, data, _trainer(config, out), subject, config.seed, source, config.sanity, config.allow_flags
    )


def attack_names(text: str) -> list[str]:
    """The attacks that ``--attacks`` names, each once.

    Raises:
        ValueError: an unknown one; lists what there is.
    """
    names = text.split(",")
    known = [UNIVERSAL, *ATTACKS]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"--attacks: unknown {', '.join(map(repr, unknown))}; there are: {', '.join(known)}")
    return list(dict.fromkeys(names))


def _victims(config: Namespace, names: list[str], classes: tuple[str, ...]) -> Victims | None:
    """The victims, where anything needs them."""
    if config.on == "data" and UNIVERSAL not in names and config.noise is None and config.patch != "mask":
        return None
    return match_classes(load_victims(config.victims), classes)


def _source(config: Namespace, classes: tuple[str, ...]) -> nn.Module:
    if config.noise is not None:
        raise ValueError("give --transfer-from or --noise, not both: a report holds one transfer")
    source = load_model(config.transfer_from)
    if _classes(source) != classes:
        raise ValueError(f"--transfer-from {config.transfer_from}: its classes differ from those of {config.model}")
    return source


def _universal(
    config: Namespace, names: list[str], victims: Victims | None, source: nn.Module | None
) -> list[Campaign]:
    """The campaigns with one noise for all victims."""
    made: list[Campaign] = []
    if victims is None:
        return made
    if UNIVERSAL in names:
        own = _rp2(config, victims)
        made.append(own)
        if source is not None:
            name = _name(source, config.transfer_from)
            made.append(Campaign(own.name, own.attack, own.targets, source, name, own.chunk))
    if config.noise is not None:
        made.append(replay(config.noise, config.noise_target, choose_mask(config.mask, victims)))
    return made


def _rp2(config: Namespace, victims: Victims) -> Campaign:
    settings = {name: config[name] for name in parameters(RP2) if name in config and name not in ("mask", "printable")}
    attack = RP2(
        target=None,
        mask=choose_mask(config.mask, victims),
        printable=None if config.printable is None else printable_colours(config.printable),
        transformations=parse_eot(config.eot),
        **settings,
    )
    return Campaign(UNIVERSAL, attack, parse_targets(config.targets, victims), chunk=config.chunk)


def _held_out(
    names: list[str], data: SignData | None, classes: tuple[str, ...], given: str | None
) -> tuple[Tensor, Tensor, str] | None:
    """Images that are not attacked, their labels, and what they are called, where an attack is made on such."""
    if data is None or given is None or "universal-patch" not in names:
        return None
    name = f"{given.partition(':')[0]} (val)"
    pool = Pool(data.split("val"), classes, name, HELD_OUT)
    return *pool.read(range(len(pool))), f"{len(pool)} images of {name}"


def _single(
    config: Namespace,
    names: list[str],
    victims: Victims | None,
    model: nn.Module,
    source: nn.Module | None,
    held_out: tuple[Tensor, Tensor, str] | None,
) -> list[Any]:
    """The campaigns image by image, those that draw curves among them."""
    areas = parse_numbers(config.curve_areas, float, "--curve-areas")
    steps = parse_numbers(config.curve_steps, int, "--curve-steps")
    area = parse_area(config.patch)
    mask = choose_mask(config.mask, victims) if area is None and victims is not None else None
    options = Options(
        area=area,
        mask=mask,
        mask_name=config.mask,
        budget=config.budget,
        steps=config.image_steps,
        eps=parse_fraction(config.eps, "--eps"),
        restarts=config.restarts,
        seed=config.seed,
        source=source,
        source_name="" if source is None else _name(source, config.transfer_from),
        held_out=None if held_out is None else held_out[:2],
        held_out_name="" if held_out is None else held_out[2],
        views=(identity_bpda(model),) if config.adaptive and transforms_of(model) else (),
    )
    chosen = [name for name in names if name != UNIVERSAL]
    if source is not None and not {UNIVERSAL, "autopatch", "transfer"} & set(names):
        raise ValueError("--transfer-from: only rp2, autopatch and transfer attack another model; add one of them")
    return image_campaigns(chosen, options, areas, steps)


def _pool(config: Namespace, victims: Victims | None, data: SignData | None, classes: tuple[str, ...]) -> Pool:
    """The images that are attacked one by one."""
    if config.on == "data":
        if data is None:
            raise ValueError("--on data: name the data with --data")
        return Pool(data.split("test"), classes, _data_name(config.data), config.limit, config.shard)
    if victims is None:
        raise ValueError("--on victims: there are none")
    held = ImageTensors(victims.images, victims.labels, classes)
    return Pool(held, classes, f"{victims.name} victims", config.limit, config.shard)


def _data_name(text: str) -> str:
    return f"{text.partition(':')[0]} (test)"


def _data(text: str, classes: tuple[str, ...]) -> SignData:
    """The data, in the model's numbering where it knows several (17 or 18 outputs)."""
    data = get_data(text)
    if len(classes) in (17, 18) and "outputs" in parameters(type(data)):
        data = get_data(text, outputs=len(classes))
    data.setup("test")
    if data.classes != classes:
        raise ValueError(f"--data {text}: its classes are {data.classes}, the model's {classes}")
    return data


def _claim(out: Path, configuration: dict[str, Any]) -> None:
    """Note what this folder is for; refuse one that was begun with something else."""
    path = out / "work" / "configuration.json"
    if path.is_file():
        found = {"defenses": []} | json.loads(path.read_text())  # folders of earlier versions had none to note
        differing = [key for key in configuration if found.get(key) != configuration[key]]
        if differing:
            # All work is of this very model behind these defenses: that it differs too says nothing new.
            differing = [key for key in differing if key in ("model", "defenses")] or differing
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


def parameters(function: Callable[..., Any]) -> list[str]:
    """The names of its parameters."""
    return list(inspect.signature(function).parameters)
