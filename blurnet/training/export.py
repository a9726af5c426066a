"""From a finished run to a zoo folder: weights, spec and card."""

import os
from pathlib import Path

import torch

from blurnet.data.module import DATA, SignData
from blurnet.rates import Rate
from blurnet.training.classifier import Classifier
from blurnet.zoo.card import Card
from blurnet.zoo.describe import call, phrases
from blurnet.zoo.models import save_model

#: What a training attack may change, and how long it works.
COST = ("radius", "area", "steps")


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
        lineage=f"fine-tuned from {_source(Path(classifier.weights))}" if classifier.weights else "from scratch",
        clean=Rate(**accuracy.as_dict()),  # type: ignore[arg-type]
        clean_set=f"test split of {_data_name(data)}",
        objective=_objective(classifier),
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


def _source(weights: Path) -> str:
    """Whose weights a file holds: every model's file has the same name, so its folder says it."""
    return weights.absolute().parent.name if weights.name == "model.safetensors" else weights.name


def _objective(classifier: Classifier) -> str:
    """The objective with its settings, those that decide its cost even where they are the defaults."""
    told = {name: vars(classifier.objective)[name] for name in COST if name in vars(classifier.objective)}
    return call(classifier.objective_spec.name, told | classifier.objective_spec.args)


def _title(classifier: Classifier, data: SignData) -> str:
    parts = phrases(classifier.spec.defenses)
    if classifier.objective_spec.name != "natural":
        parts.append(f"{_objective(classifier)} training")
    if data.noise > 0:
        parts.append(f"gaussian noise augmentation {data.noise:g}")
    return f"{classifier.spec.net} with {' and '.join(parts) or 'no defense'}"
