"""A run: its folder (config.yaml, checkpoints/best.ckpt and last.ckpt, logs/, model/), and its export to the zoo."""

import os
import shutil
from pathlib import Path

import pytorch_lightning as pl
import torch
from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.cli import SaveConfigCallback
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from torch import nn

from blurnet.data.module import DATA, SignData
from blurnet.modes import resting
from blurnet.nets.image_size import image_size
from blurnet.nets.vision import device_of
from blurnet.rates import Rate
from blurnet.training.classifier import Classifier
from blurnet.training.objectives.base import ACCURACY, Objective
from blurnet.training.objectives.table import ObjectiveSpec, inner_specs
from blurnet.zoo.card import Card
from blurnet.zoo.describe import call, phrases
from blurnet.zoo.models import save_model

#: What a training attack may change, and how long it works.
COST = ("radius", "area", "steps")


def best_checkpoint(out: Path) -> Path:
    """Where a run keeps the weights of its best epoch: the highest validation accuracy, or what the objective names."""
    return out / "checkpoints" / "best.ckpt"


def last_checkpoint(out: Path) -> Path:
    """Where a run keeps what it resumes from."""
    return out / "checkpoints" / "last.ckpt"


def check_monitor(checkpoint: Path, monitor: str) -> None:
    """Require that a run to be resumed has kept its best epoch by ``monitor``: others cannot be compared with it.

    Raises:
        ValueError: by something else, as mask training did before it measured certificates.
    """
    kept = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True).get("monitor", ACCURACY)
    if kept != monitor:
        hint = "--model.objective.args.certify false goes on as before; " if kept == ACCURACY else ""
        raise ValueError(
            f"{checkpoint}: the run keeps its best epoch by {kept}, now asked for is {monitor}; {hint}"
            "--overwrite starts again"
        )


def loggers(out: Path) -> list[Logger]:
    """CSV and TensorBoard under out/logs; each start of a run has its own folder, so a resume keeps the old log."""
    version = f"start_{len(list((out / 'logs').glob('start_*')))}"
    return [CSVLogger(out, name="logs", version=version), TensorBoardLogger(out, name="logs", version=version)]


@rank_zero_only
def delete_run(out: Path) -> None:
    """Delete what a run writes, and nothing else that may be in the folder."""
    for name in ("checkpoints", "logs", "model"):
        if (out / name).is_dir():
            shutil.rmtree(out / name)
    (out / "config.yaml").unlink(missing_ok=True)


class SaveRunConfig(SaveConfigCallback):
    """Writes config.yaml into the run's folder: every setting, so that ``--config`` with it repeats the run."""

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write the file once, when fitting starts."""
        if stage == "fit":
            config = self.config.clone()
            config["resume"] = config["overwrite"] = False
            config["out"] = str(trainer.default_root_dir)
            self.parser.save(config, str(Path(trainer.default_root_dir) / "config.yaml"), overwrite=True)


def check_image_size(net: nn.Module, size: int) -> None:
    """Require that a net takes images of size x size pixels: one black image passes the undefended net.

    Raises:
        ValueError: it does not; the message names the size that the net states.
    """
    plain = getattr(net, "net", net)  # behind its input defenses, which may draw random numbers
    try:
        with resting(plain):
            plain.forward(torch.zeros(1, 3, size, size, device=device_of(plain)))
    except (RuntimeError, ValueError, AssertionError) as error:
        own = image_size(net)
        hint = "" if own is None else f"; it is made for {own[0]}x{own[1]}"
        raise ValueError(f"the net takes no images of {size}x{size} pixels{hint}: set --data.image_size") from error


def clean_accuracy(classifier: Classifier, data: SignData) -> Rate:
    """Share of the test images that were classified correctly, after ``Trainer.test``; frames of a track together."""
    if (correct := classifier.test_correct) is None:
        raise ValueError("clean_accuracy: the classifier was not tested; call Trainer.test first")
    groups = data.split("test").groups
    return Rate.over(correct, None if groups is None else groups[: len(correct)])


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
        data: what it was trained on; size and fit of its images become the model's.
        folder: its last part becomes the model's name.
        accuracy: measured on the test split, see :func:`clean_accuracy`.
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
        clean=accuracy,
        clean_set=f"test split of {_data_name(data)}",
        objective=_objective(classifier.objective_spec, classifier.objective),
        training_seconds=None if seconds is None else round(seconds, 1),
    )
    net = classifier.net.to(memory_format=torch.contiguous_format)
    spec = classifier.spec.with_images((data.image_size, data.image_size), data.fit)
    return save_model(net, folder, spec=spec, card=card)


def _data_name(data: SignData) -> str:
    """The name ``get_data`` knows it by, such as "lisa-crops"."""
    names = {maker: name for name, (maker, _) in DATA.items()}
    return names.get(type(data), type(data).__name__)


def _describe(data: SignData) -> str:
    sizes = ", ".join(f"{len(data.split(split)):,} {split}" for split in ("train", "val", "test"))
    return f"{_data_name(data)} ({sizes} images)"


def _defense(classifier: Classifier, data: SignData) -> str:
    names = [defense.name for defense in classifier.spec.defenses] + ["gaussian_noise"] * (data.noise > 0)
    spec = classifier.objective_spec
    names += [one.name for one in (spec, *inner_specs(spec).values()) if one.name != "natural"]
    return "+".join(dict.fromkeys(names)) or "none"


def _source(weights: Path) -> str:
    """Whose weights a file holds: every model's file has the same name, so its folder says it."""
    return weights.absolute().parent.name if weights.name == "model.safetensors" else weights.name


def _objective(spec: ObjectiveSpec, objective: Objective) -> str:
    """The objective with its settings, those that decide its cost even where they are the defaults."""
    told = {name: vars(objective)[name] for name in COST if name in vars(objective)}
    inner = {name: _objective(one, vars(objective)[name]) for name, one in inner_specs(spec).items()}
    return call(spec.name, told | spec.args | inner)


def _title(classifier: Classifier, data: SignData) -> str:
    parts = phrases(classifier.spec.defenses)
    if classifier.objective_spec.name != "natural":
        parts.append(f"{_objective(classifier.objective_spec, classifier.objective)} training")
    if data.noise > 0:
        parts.append(f"gaussian noise augmentation {data.noise:g}")
    return f"{classifier.spec.net} with {' and '.join(parts) or 'no defense'}"
