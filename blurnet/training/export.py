"""From a finished run to a zoo folder: weights, spec and card."""

import os
from pathlib import Path
from typing import Any

import torch

from blurnet.data.module import DATA
from blurnet.data.sign_data import SignData
from blurnet.stats import Rate
from blurnet.training.classifier import Classifier
from blurnet.zoo.card import Card, Percent
from blurnet.zoo.models import save_model
from blurnet.zoo.spec import DefenseSpec


def export_model(
    classifier: Classifier,
    data: SignData,
    folder: str | os.PathLike[str],
    *,
    accuracy: Rate,
    seed: int,
    command: str,
    seconds: float | None = None,
) -> Path:
    """Write a trained net as a model's folder and return its path; call it on rank zero only.

    Args:
        classifier: holds the weights to ship.
        data: what it was trained on.
        folder: its last part becomes the model's name.
        accuracy: measured on the test split.
        seed: of the run.
        command: repeats the run; absolute paths left out.
        seconds: wall clock of the training.

    Raises:
        FileExistsError, PermissionError, NotADirectoryError: the folder cannot take a model.
        ValueError: NaN or infinite weights: the run diverged.
    """
    card = Card(
        title=_title(classifier, data),
        dataset=_data_name(data).split("-")[0],
        defense=_defense(classifier, data),
        data=_describe(data),
        seed=seed,
        command=command,
        lineage=f"fine-tuned from {Path(classifier.weights).name}" if classifier.weights else "from scratch",
        clean=Percent(**accuracy.as_dict()),  # type: ignore[arg-type]
        clean_set=f"test split of {_data_name(data)}",
        training_seconds=None if seconds is None else round(seconds, 1),
    )
    net = classifier.net.to(memory_format=torch.contiguous_format)
    return save_model(net, folder, spec=classifier.spec, card=card)


def _data_name(data: SignData) -> str:
    """The name ``get_data`` knows it by, such as "lisa-crops"."""
    names = {maker: name for name, (maker, _) in DATA.items()}
    return names.get(type(data), type(data).__name__)


def _describe(data: SignData) -> str:
    sizes = ", ".join(f"{len(data.split(split)):,} {split}" for split in ("train", "val", "test"))
    return f"{_data_name(data)} ({sizes} images)"


def _defense(classifier: Classifier, data: SignData) -> str:
    names = [defense.name for defense in classifier.spec.defenses] + ["gaussian_noise"] * (data.noise > 0)
    names += [classifier.objective_spec.name] * (classifier.objective_spec.name != "natural")
    return "+".join(dict.fromkeys(names)) or "none"


def _title(classifier: Classifier, data: SignData) -> str:
    parts = _phrases(classifier.spec.defenses)
    if classifier.objective_spec.name != "natural":
        parts.append(f"{classifier.objective_spec.name}({_arguments(classifier.objective_spec.args)}) training")
    if data.noise > 0:
        parts.append(f"gaussian noise augmentation {data.noise:g}")
    return f"{classifier.spec.net} with {' and '.join(parts) or 'no defense'}"


def _phrases(defenses: list[DefenseSpec]) -> list[str]:
    """A phrase for each defense; a block that stands in many places is told once."""
    alike: dict[str, list[DefenseSpec]] = {}
    for defense in defenses:
        arguments = {name: value for name, value in defense.args.items() if name != "channels"}
        alike.setdefault(f"{defense.name}({_arguments(arguments)})", []).append(defense)
    return [_phrase(same[0]) if len(same) == 1 else f"{text} at {len(same)} places" for text, same in alike.items()]


def _phrase(defense: DefenseSpec) -> str:
    place = f"after {defense.after}" if defense.after else f"before {defense.before}" if defense.before else "on input"
    return f"{defense.name}({_arguments(defense.args)}) {place}"


def _arguments(args: dict[str, Any]) -> str:
    return ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in args.items())
