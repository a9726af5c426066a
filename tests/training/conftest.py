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


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ImageNet's layout: train/ and val/ with 3 classes of 4 noisy images."""
    root, generator = tmp_path_factory.mktemp("imagenet"), torch.Generator().manual_seed(0)
    for place in (root / part / name for part in ("train", "val") for name in ("cat", "dog", "tench")):
        place.mkdir(parents=True)
        for number in range(4):
            pixels = torch.randint(256, (80, 90, 3), generator=generator, dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(place / f"{number}.png")
    return root


@pytest.fixture(scope="session")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GTSRB's official layout: 2 of its classes with 5 tracks of 3 frames, and a test image."""
    root = tmp_path_factory.mktemp("gtsrb")
    header = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"

    def write(folder: Path, table: Path, rows: list[tuple[str, int]]) -> None:
        folder.mkdir(parents=True)
        for file, label in rows:
            Image.new("RGB", (20, 20), (label, 90, 200)).save(folder / file)
        lines = [f"{file};20;20;4;5;15;16;{label}" for file, label in rows]
        table.write_text("\n".join([header, *lines]) + "\n")

    for label in (0, 14):
        folder = root / "Final_Training" / "Images" / f"{label:05d}"
        frames = [(f"{track:05d}_{frame:05d}.ppm", label) for track in range(5) for frame in range(3)]
        write(folder, folder / f"GT-{label:05d}.csv", frames)
    write(root / "Final_Test" / "Images", root / "GT-final_test.csv", [("00000.ppm", 14)])
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
