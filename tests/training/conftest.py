"""A small folder of LISA crops in the real format, and the command line inside this process."""

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from blurnet.cli import train_main
from blurnet.data.labels import LISA_CLASSES

CONFIGS = Path(__file__).parents[2] / "configs" / "train"


@pytest.fixture(scope="session")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """17 classes of one colour each: 6 tracks of 2 noisy frames."""
    root = tmp_path_factory.mktemp("lisa-crops")
    (root / "crops").mkdir()
    generator = torch.Generator().manual_seed(0)
    rows: list[tuple[object, ...]] = [("file", "class", "track", "frame", "width", "height")]
    for name in LISA_CLASSES:
        colour = torch.randint(0, 256, (3,), generator=generator)
        for track in range(6):
            for frame in range(2):
                noise = torch.randint(-30, 30, (20, 20, 3), generator=generator)
                file = f"{name}_{track}_{frame}.png"
                pixels = (colour + noise).clamp(0, 255).to(torch.uint8)
                Image.fromarray(pixels.numpy()).save(root / "crops" / file)
                rows.append((file, name, f"{name}_{track}", frame, 20, 20))
    with (root / "annotations.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return root


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """``train("fit", config_name, *arguments)``: train.py in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])

    def run(command: str, config: str | Path, *arguments: str | Path) -> None:
        path = CONFIGS / f"{config}.yaml" if isinstance(config, str) else config
        quiet = ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]
        train_main([command, "--config", str(path), *map(str, arguments), *quiet])

    return run
