"""What makes a killed run resume exactly: checkpoints that are whole or absent, and randomness by position."""

import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.trainer.states import TrainerFn

from blurnet.data.loader import seed_from
from blurnet.files import replacing

MONITOR = "val/accuracy"


class StepSeed(Callback):
    """Seeds torch's global generators before every training step from (seed, epoch, batch, rank).

    Dropout then depends on the position in the run and not on its history, so a resumed run draws what an
    uninterrupted one would. The seed is set for each step because Lightning skips the epoch-start hook in the
    first epoch after a resume.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed the step."""
        torch.manual_seed(seed_from("step", self.seed, trainer.current_epoch, batch_idx, trainer.global_rank))


class EMA(EMAWeightAveraging):
    """Exponential moving average of weights and batch statistics: what is validated, kept as best, and exported.

    Lightning's own, but for one thing: outside of fitting a checkpoint gives the averaged weights. Lightning's gives
    those of the last step there, so that a run would test and ship other weights than it validated.

    Args:
        decay: weight of the past in an update after each optimizer step.
    """

    def __init__(self, decay: float = 0.999) -> None:
        super().__init__(decay=decay)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore current and averaged weights to go on with a fit; leave the averaged ones to everything else."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, flushes it to the disk, then renames it: a kill leaves the old one.

    Lightning's own writer goes through the temporary folder, and moving a file between file systems is a copy.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Write the checkpoint to ``path``; OSError where the disk does not take it."""
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        for cut_short in place.parent.glob(f".{place.name}.*"):  # what kills have left
            cut_short.unlink()
        with replacing(place) as file:
            torch.save(checkpoint, file)


def best_and_last(folder: Path) -> list[ModelCheckpoint]:
    """Keep best.ckpt (highest validation accuracy) and last.ckpt in ``folder``, written at each epoch's end.

    Two callbacks: one with ``save_last`` writes last.ckpt only in epochs that improve, since Lightning 2.6, and a
    resumed run would lose all epochs after the best. The second one runs last and knows the state of the first.
    """
    always: dict[str, Any] = {"dirpath": folder, "save_on_train_epoch_end": True, "enable_version_counter": False}
    best = ModelCheckpoint(filename="best", monitor=MONITOR, mode="max", **always)
    return [best, ModelCheckpoint(filename="last", monitor=None, **always)]
