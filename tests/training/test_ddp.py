import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]


def run(cwd: Path, *arguments: str | Path) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    environment.pop("MASTER_PORT", None)
    quiet = ("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false")
    command = [sys.executable, str(REPO / "train.py"), *map(str, arguments), *quiet]
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def counts(text: str) -> list[str]:
    return [line.split()[1] for line in text.splitlines() if line.split()[:1] in (["test/correct"], ["test/n"])]


@pytest.mark.slow
def test_two_processes_count_as_one(crops: Path, tmp_path: Path) -> None:
    # The 34 test and the 17 validation images do not divide into batches of 5 on 2 processes.
    config = REPO / "configs" / "train" / "lisa_cnn-linf3.yaml"
    data = ("--data.root", crops, "--data.batch_size", "5")
    two = ("--trainer.devices", "2", "--trainer.strategy", "ddp")
    out = tmp_path / "run"
    trained = run(tmp_path, "fit", "--config", config, *data, *two, "--out", out, "--trainer.max_epochs", "2")
    assert (out / "model" / "model.safetensors").exists()
    assert trained.count("model: ") == 1, "rank zero alone exports"

    test = ("test", "--config", config, *data, "--out", out)
    one_process = counts(run(tmp_path, *test))
    assert one_process == counts(run(tmp_path, *test, *two)) == counts(trained)
    assert float(one_process[1]) == 34

    validate = ("validate", "--config", config, *data, "--out", out)
    alone, together = run(tmp_path, *validate), run(tmp_path, *validate, *two)
    accuracy = [line.split()[1] for text in (alone, together) for line in text.splitlines() if "val/accuracy" in line]
    assert len(accuracy) == 2
    assert accuracy[0] == accuracy[1]


@pytest.mark.slow
def test_pgd_on_two_processes_learns_as_on_one(crops: Path, tmp_path: Path) -> None:
    config = REPO / "configs" / "train" / "lisa_cnn-pgd.yaml"
    settings = ("--data.root", crops, "--model.objective.args.steps", "2", "--trainer.max_epochs", "6")
    settings += ("--model.weights", "null")  # the colours of this test are no signs
    two = ("--trainer.devices", "2", "--trainer.strategy", "ddp", "--data.batch_size", "10")
    runs = {"one": ("--data.batch_size", "20"), "two": two}
    correct = {}
    for name, extra in runs.items():
        (right, count) = counts(run(tmp_path, "fit", "--config", config, *settings, *extra, "--out", tmp_path / name))
        assert float(count) == 34
        correct[name] = float(right)
    # The 17 classes are noisy colours: the draws of two processes differ, the accuracy hardly.
    assert min(correct.values()) > 10
    assert abs(correct["one"] - correct["two"]) <= 8


@pytest.mark.slow
def test_two_processes_certify_as_one(crops: Path, tmp_path: Path) -> None:
    """A net taught by its start on two processes; the 17 validation images do not divide by batches and processes."""
    config = REPO / "configs" / "train" / "lisa_cnn-masked.yaml"
    settings = ("--data.root", crops, "--data.batch_size", "5", "--model.objective.args")
    settings += (
        '{"masks": 3, "tries": 1, "clean": 0.3, "distill": 0.2, "teacher": "start"}',
        "--trainer.max_epochs",
        "2",
    )
    two = ("--trainer.devices", "2", "--trainer.strategy", "ddp")
    out = tmp_path / "run"
    run(tmp_path, "fit", "--config", config, *settings, *two, "--out", out)
    validate = ("validate", "--config", config, *settings, "--out", out)
    alone, together = run(tmp_path, *validate), run(tmp_path, *validate, *two)
    shares = [line.split()[1] for text in (alone, together) for line in text.splitlines() if "val/certified" in line]
    assert len(shares) == 2
    assert shares[0] == shares[1]
    assert float(shares[0]) > 0, "a share of nothing is equal on any number of processes"
