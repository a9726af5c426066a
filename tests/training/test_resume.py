import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from blurnet.training.callbacks import AtomicCheckpointIO

REPO = Path(__file__).parents[2]

# Four epochs of 4 steps with dropout, augmentation, a penalty and momentum: everything a resume must restore.
SETTINGS = (
    *("--trainer.max_epochs", "4", "--data.batch_size", "40", "--data.noise", "0.05", "--model.lr", "0.02"),
    *("--model.net_args", '{"dropout": 0.5, "input_dropout": 0.2}', "--trainer.enable_model_summary", "false"),
)

KILLED = """
import os, signal, sys, torch
torch.set_num_threads(1)
from blurnet.cli import train_main
from blurnet.training.classifier import Classifier

step = Classifier.training_step

def training_step(self, batch, batch_idx):
    if self.current_epoch == 2 and batch_idx == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, batch_idx)

Classifier.training_step = training_step
train_main(sys.argv[1:])
"""


def weights(run: Path, name: str) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / "checkpoints" / name, weights_only=True)["state_dict"]
    return state


def test_killed_and_resumed_ends_with_the_same_weights(crops: Path, train: Callable[..., None], tmp_path: Path) -> None:
    config = REPO / "configs" / "train" / "lisa_cnn-tv.yaml"
    arguments = ("--data.root", str(crops), *SETTINGS)
    train("fit", config, *arguments, "--out", tmp_path / "whole")

    command = ["fit", "--config", str(config), *arguments, "--out", str(tmp_path / "killed")]
    quiet = ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]
    environment = os.environ | {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *command, *quiet], env=environment, capture_output=True, cwd=tmp_path
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not (tmp_path / "killed" / "model").exists()

    train("fit", config, *arguments, "--out", tmp_path / "killed", "--resume")
    for name in ("last.ckpt", "best.ckpt"):
        expected, got = weights(tmp_path / "whole", name), weights(tmp_path / "killed", name)
        assert all(torch.equal(expected[key], got[key]) for key in expected), name
    file = Path("model") / "model.safetensors"
    assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "killed" / file).read_bytes()
    starts = sorted(path.name for path in (tmp_path / "killed" / "logs").iterdir())
    assert starts == ["start_0", "start_1"], "the log of the killed start is kept"


def test_a_checkpoint_cut_short_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    io, path = AtomicCheckpointIO(), tmp_path / "checkpoints" / "last.ckpt"
    io.save_checkpoint({"epoch": 1}, path)

    def cut_short(checkpoint: object, file: object) -> None:
        file.write(b"PK half a file")  # type: ignore[attr-defined]
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", cut_short)
    with pytest.raises(OSError, match="no space"):
        io.save_checkpoint({"epoch": 2}, path)
    assert io.load_checkpoint(path, weights_only=True) == {"epoch": 1}
