"""Golden trainings: a few steps of recipes through ``train.py``, their losses, and a summary of the weights."""

import contextlib
import csv
import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file

from blurnet.cli import train_main

CONFIGS = Path(__file__).parents[2] / "configs" / "train"
STEPS = 5
#: An epoch takes one batch of the five or six, so that what the log says of an epoch is the loss of one step. (The
#: command line reads 1 as the share 1.0.)
QUICK = f"--trainer.max_epochs {STEPS} --trainer.limit_train_batches 0.2 --trainer.enable_model_summary false"
CLASSES = (
    "addedLane", "keepRight", "laneEnds", "merge", "pedestrianCrossing", "school", "schoolSpeedLimit25", "signalAhead",
    "speedLimit25", "speedLimit30", "speedLimit35", "speedLimit45", "speedLimitUrdbl", "stop", "stopAhead",
    "turnRight", "yield",
)  # fmt: skip
SYNTHETIC = "--data.train_size 160 --data.val_size 32 --data.test_size 32 --data.batch_size 32"
CROPS = "--data.root {crops} --data.batch_size 24"


@dataclass(frozen=True)
class Recipe:
    """A config of configs/train and what makes it small."""

    config: str
    line: str
    slow: bool = False


RECIPES = {
    "natural": Recipe("lisa_cnn-synthetic", SYNTHETIC),
    "low-pass": Recipe("lisa_cnn-synthetic-linf7", SYNTHETIC),
    "lgs": Recipe("lisa_cnn-synthetic", f"{SYNTHETIC} --defenses lgs,fixed_low_pass:kernel_size=5:after=relu1"),
    "pgd": Recipe("lisa_cnn-pgd", f"{CROPS} --model.objective.args.steps 2"),
    "patch": Recipe("lisa_cnn-patch", f"{CROPS} --model.objective.args.steps 2"),
    "doa": Recipe("lisa_cnn-doa", f"{CROPS} --model.objective.args.steps 2", slow=True),
    "trades": Recipe("lisa_cnn-trades", f"{CROPS} --model.objective.args.steps 2", slow=True),
    "alp": Recipe("lisa_cnn-alp", f"{CROPS} --model.objective.args.steps 2", slow=True),
    "fgsm": Recipe("lisa_cnn-fgsm", CROPS, slow=True),
    "fast": Recipe("lisa_cnn-fast", CROPS, slow=True),
    "total-variation": Recipe("lisa_cnn-tv", CROPS, slow=True),
    "tikhonov": Recipe("lisa_cnn-tikhonov-hf", CROPS, slow=True),
    "gaussian": Recipe("lisa_cnn-gaussian", CROPS, slow=True),
    "denoise": Recipe("lisa_cnn-denoise-pgd", f"{CROPS} --model.objective.args.steps 2", slow=True),
}


def make_crops(root: Path) -> Path:
    """A folder in the layout of LISA crops: 17 classes of one colour each, 6 tracks of 2 noisy frames."""
    (root / "crops").mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    rows: list[tuple[object, ...]] = [("file", "class", "track", "frame", "width", "height")]
    for name in CLASSES:
        colour = torch.randint(0, 256, (3,), generator=generator)
        for track in range(6):
            for frame in range(2):
                noise = torch.randint(-60, 60, (20, 20, 3), generator=generator)
                file = f"{name}_{track}_{frame}.png"
                Image.fromarray((colour + noise).clamp(0, 255).to(torch.uint8).numpy()).save(root / "crops" / file)
                rows.append((file, name, f"{name}_{track}", frame, 20, 20))
    with (root / "annotations.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return root


def train(recipe: Recipe, place: Path) -> dict[str, Any]:
    """Fit in an empty folder: what was logged, step by step, and sums over the tensors of the exported model."""
    place.mkdir(parents=True, exist_ok=True)
    crops = make_crops(place / "data") if "{crops}" in recipe.line else ""
    out, config = place / "run", CONFIGS / f"{recipe.config}.yaml"
    quiet = ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu", "--out", str(out)]
    line = f"{recipe.line} {QUICK}".format(crops=crops)
    with _inside(place), contextlib.redirect_stdout(io.StringIO()):
        train_main(["fit", "--config", str(config), *line.split(), *quiet])
    card = json.loads((out / "model" / "card.json").read_text())
    return {
        "logged": logged((out / "logs" / "start_0" / "metrics.csv").read_text()),
        "clean": {key: card["clean"][key] for key in ("count", "n")},
        "weights": summary(out / "model" / "model.safetensors"),
    }


@contextlib.contextmanager
def _inside(folder: Path) -> Any:
    """The command line inside this process, in a folder of its own."""
    before, arguments = Path.cwd(), sys.argv
    os.chdir(folder)
    sys.argv = ["train.py"]
    try:
        yield
    finally:
        os.chdir(before)
        sys.argv = arguments


def logged(text: str) -> dict[str, list[float]]:
    """The columns of metrics.csv that hold losses and accuracies, without gaps."""
    found: dict[str, list[float]] = {}
    for row in csv.DictReader(text.splitlines()):
        for name, value in row.items():
            if value and name.startswith(("train/", "val/", "test/")):
                found.setdefault(name, []).append(float(value))
    return dict(sorted(found.items()))


def summary(path: Path) -> dict[str, list[float]]:
    """Sum and sum of sizes of each tensor of a weights file, in float64."""
    tensors = sorted(load_file(path).items())
    return {name: [float(value.double().sum()), float(value.double().abs().sum())] for name, value in tensors}
