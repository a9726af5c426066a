"""Callbacks: what makes a killed run resume exactly, averaged weights, and the guard of fast adversarial training."""

import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from lightning_utilities.core.rank_zero import rank_zero_info
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn

from blurnet.data.loader import seed_from
from blurnet.files import replacing
from blurnet.modes import resting
from blurnet.training.objectives.base import ACCURACY
from blurnet.training.objectives.inner import AttackedView, ascend, uniform_start


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


def best_and_last(folder: Path, monitor: str = ACCURACY) -> list[ModelCheckpoint]:
    """Keep best.ckpt (the highest ``monitor``, as it is logged) and last.ckpt in ``folder``, at each epoch's end.

    Two callbacks: one with ``save_last`` writes last.ckpt only in epochs that improve, since Lightning 2.6, and a
    resumed run would lose all epochs after the best. The second one runs last and knows the state of the first. Where
    not every epoch is validated, the first one looks after validations only.
    """
    always: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False}
    best = ModelCheckpoint(filename="best", monitor=monitor, mode="max", **always)
    return [best, ModelCheckpoint(filename="last", monitor=None, save_on_train_epoch_end=True, **always)]


class OverfittingGuard(Callback):
    """Attacks one training batch with PGD at each epoch's end; a sharp drop of its accuracy stops the run.

    The batch is the first of the epoch, the measurement comes before the epoch's validation. Where the accuracy fell
    by more than ``drop`` since the epoch before, the weights of that epoch are put back, validated and kept, and
    training ends. Under several processes the mean over their batches decides, for all alike. Averaged weights (EMA)
    are not put back.

    Args:
        radius: of the L-infinity ball, in pixel units.
        drop: largest fall of the accuracy, a share.
        steps: of PGD, each a quarter of the radius.

    Source: Wong et al. 2020, section 5.4 and their code (PGD-5, 0.2).
    """

    def __init__(self, radius: float, drop: float = 0.2, steps: int = 5) -> None:
        self.radius, self.drop, self.steps = radius, drop, steps
        self.previous: float | None = None
        self._batch: tuple[Tensor, Tensor] | None = None
        self._weights: dict[str, Tensor] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember the weights a run begins or resumes with: those of the last epoch that passed."""
        self._remember(pl_module)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the first batch of an epoch."""
        if batch_idx == 0:
            self._batch = (batch[0].clone(), batch[1].clone())

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Behind the last batch of an epoch: measure, and stop where the accuracy collapsed."""
        if not trainer.is_last_batch or self._batch is None:
            return
        share = robust_share(pl_module.net, *self._batch, radius=self.radius, steps=self.steps)  # type: ignore[arg-type]
        accuracy = float(trainer.strategy.reduce(share, reduce_op="mean"))
        self._batch = None
        if self.previous is not None and accuracy < self.previous - self.drop:
            rank_zero_info(
                f"catastrophic overfitting: accuracy under PGD-{self.steps} fell from {self.previous:.1%} to "
                f"{accuracy:.1%} in epoch {trainer.current_epoch}; the weights of the epoch before are put back"
            )
            pl_module.load_state_dict(self._weights)
            trainer.should_stop = True
            return
        self.previous = accuracy
        self._remember(pl_module)

    def state_dict(self) -> dict[str, Any]:
        """The last accuracy, for a resumed run."""
        return {"previous": self.previous}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.previous = state_dict["previous"]

    def _remember(self, module: pl.LightningModule) -> None:
        self._weights = {name: value.detach().clone() for name, value in module.state_dict().items()}


def robust_share(net: nn.Module, images: Tensor, labels: Tensor, *, radius: float, steps: int) -> Tensor:
    """Share of a batch that a net classifies correctly under untargeted PGD in the L-infinity ball, a scalar.

    Args:
        net: images in [0, 1] to logits; attacked and measured in evaluation mode, which is restored.
        images: (N, 3, H, W) in [0, 1].
        labels: (N,).
        radius: in pixel units.
        steps: each of a quarter of the radius, from the same random start at every call.
    """

    def value(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, reduction="sum")

    start = uniform_start(images, radius, torch.Generator(images.device).manual_seed(0))
    attacked = ascend(net, value, images, start, radius=radius, steps=steps, step_size=radius / 4)
    view = AttackedView(net)
    with resting(view):
        correct: Tensor = view(attacked).argmax(dim=1) == labels
    return correct.float().mean()
