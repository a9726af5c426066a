"""The LightningModule that trains a net with its defenses."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, cast

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from blurnet.data.loader import seed_from
from blurnet.layers.penalties import penalties
from blurnet.training.callbacks import OverfittingGuard
from blurnet.training.objectives.adversarial import FastTraining
from blurnet.training.objectives.table import ObjectiveSpec, make_objective
from blurnet.training.optimizers import OptimizerName, ScheduleName, check_warmup, make_optimizer, make_schedule
from blurnet.zoo.build import NETS, build
from blurnet.zoo.models import model_folder
from blurnet.zoo.spec import DefenseSpec, ModelSpec, Plain

Batch = tuple[Tensor, Tensor]


class Classifier(pl.LightningModule):
    """Trains a net on batches of images (N, 3, H, W) in [0, 1] and labels (N,).

    The loss is that of the objective (cross entropy, unless another is named) plus the penalties of the net's layers,
    each logged by name. The best epoch is that of the objective's ``monitor``. Hyperparameters are not saved with the
    checkpoint: a .ckpt resumes its own run, a .safetensors ships (see :func:`export_model`).

    Args:
        classes: class names in output order. On the command line they come from the data.
        net: "lisa_cnn", "gtsrb_cnn", "resnet_32", "torchvision/NAME" or "timm/NAME".
        net_args: arguments of the net, such as dropout and input_dropout of lisa_cnn.
        defenses: layers to insert, each with its name, its place (after or before a named layer; neither: on the
            input) and its arguments.
        objective: what is minimised, by name, with its arguments; see
            :data:`~blurnet.training.objectives.table.OBJECTIVES`. None is natural training.
        weights: what to start from, the plain net's: defenses are inserted afterwards. A local .safetensors file, the
            name of a shipped model (nets of this package), or a name of the library's, such as "DEFAULT" (its nets).
        optimizer: "sgd" (Nesterov), "adam" or "adadelta".
        lr: learning rate; the highest one of a one-cycle or cosine schedule.
        weight_decay: L2 weight decay.
        momentum: of SGD, or beta 1 of Adam.
        schedule: "one-cycle", "cosine" or "constant", over all steps of the run.
        warmup: share of all steps over which the rate of "cosine" rises from 0.
        label_smoothing: share of the target mass spread over all classes.
        freeze_batchnorm: leave the statistics of BatchNorm as they start, as one does where a net is fine-tuned on
            few images; its weights and biases are trained.
        channels_last: keep maps channels last in memory: faster convolutions, same net.
        compile: run the net through torch.compile.

    Raises:
        ValueError: no classes, unknown names, bad arguments, weights that do not fit the net or are needed, or no
            BatchNorm to freeze.
    """

    def __init__(
        self,
        classes: Sequence[str],
        net: str = "lisa_cnn",
        net_args: dict[str, Plain] | None = None,
        defenses: list[DefenseSpec] | None = None,
        objective: ObjectiveSpec | None = None,
        weights: str | None = None,
        optimizer: OptimizerName = "sgd",
        lr: float = 0.02,
        weight_decay: float = 5e-4,
        momentum: float = 0.9,
        schedule: ScheduleName = "one-cycle",
        warmup: float = 0.0,
        label_smoothing: float = 0.0,
        freeze_batchnorm: bool = False,
        channels_last: bool = True,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.spec = ModelSpec(net, list(classes), list(defenses or ()), dict(net_args or {}))
        self.objective_spec = objective or ObjectiveSpec()
        self.objective = make_objective(self.objective_spec, label_smoothing)
        self.weights = weights
        self.net = build(self.spec, _start(weights, net))
        self.objective.check(self.net, trained=weights is not None)
        self.freeze_batchnorm = freeze_batchnorm
        if freeze_batchnorm and not any(isinstance(module, _BatchNorm) for module in self.net.modules()):
            raise ValueError(f"freeze_batchnorm: {net} has no BatchNorm")
        self.optimizer_settings = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
        self.optimizer_name: OptimizerName = optimizer
        self.schedule_name: ScheduleName = schedule
        self.warmup = check_warmup(schedule, warmup)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.net.to(memory_format=self.memory_format)
        if compile:
            self.net.compile()
        n = len(classes)
        self.train_accuracy = MulticlassAccuracy(n, average="micro", validate_args=False)
        self.val_accuracy = MulticlassAccuracy(n, average="micro", validate_args=False)
        self.val_shares = nn.ModuleDict({name: MeanMetric() for name in self.objective.measures})
        self.train()
        self.test_correct: Tensor | None = None  #: (n,) bool, the last test's images in the order of the data
        self._correct: list[Tensor] = []  # of this process

    def train(self, mode: bool = True) -> Self:
        """Training mode, or evaluation mode; frozen BatchNorm stays in the latter, so that its statistics rest."""
        super().train(mode)
        if self.freeze_batchnorm:
            for module in self.net.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def setup(self, stage: str) -> None:
        """Show the objective the net as it starts: Lightning restores a checkpoint after this."""
        if stage == "fit":
            self.objective = self.objective.begin(self.net)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note what the best epoch is kept by, see :func:`~blurnet.training.run.check_monitor`."""
        checkpoint["monitor"] = self.objective.monitor

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W) in [0, 1]."""
        logits: Tensor = self.net(images.contiguous(memory_format=self.memory_format))
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The objective plus penalties of one batch. Logs are means over the epoch: nothing is read back here."""
        images, labels = batch
        images = images.contiguous(memory_format=self.memory_format)
        # The net itself, not the wrapper of a strategy: an attack inside must not start its communication.
        loss, logits = self.objective.loss(self.net, images, labels, self._generator(images, batch_idx))
        logs = {f"train/{self.objective.log_name}": loss.detach()}
        for name, penalty in penalties(self.net).items():
            loss = loss + penalty
            logs[f"train/penalty/{name}"] = penalty.detach()
        logs["train/loss"] = loss.detach()
        self.log_dict(logs, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(labels))
        self.train_accuracy.update(logits.detach(), labels)
        return loss

    def _generator(self, images: Tensor, batch_idx: int) -> torch.Generator:
        """What an objective draws from: a function of seed and position in the run, so that a resume is exact."""
        key = seed_from("objective", torch.initial_seed(), self.current_epoch, batch_idx, self.global_rank)
        return torch.Generator(images.device).manual_seed(key)

    def configure_callbacks(self) -> list[pl.Callback]:
        """The guard of fast adversarial training, where it is asked for."""
        fast = [part for part in self.objective.parts if isinstance(part, FastTraining)]
        return [OverfittingGuard(part.radius, part.guard) for part in fast if part.guard is not None]

    def on_train_epoch_end(self) -> None:
        """Log the training accuracy (of the augmented or attacked batches, as the weights moved)."""
        self.log("train/accuracy", self.train_accuracy)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count the correct answers of one batch and what the objective measures, and log the cross entropy."""
        images, labels = batch
        logits = self(images)
        self.val_accuracy.update(logits, labels)
        self.log("val/accuracy", self.val_accuracy, on_step=False, on_epoch=True, prog_bar=True)
        loss = F.cross_entropy(logits, labels)
        self.log("val/loss", loss, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(labels))
        for name, held in self.objective.validate(self.net, images, labels).items():
            share = cast(MeanMetric, self.val_shares[name])
            share.update(held.float())
            self.log(f"val/{name}", share, on_step=False, on_epoch=True, prog_bar=True)

    def on_test_epoch_start(self) -> None:
        """Forget an earlier test."""
        self.test_correct, self._correct = None, []

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep which images of one batch are classified correctly."""
        images, labels = batch
        self._correct.append(self(images).argmax(1) == labels)

    def on_test_epoch_end(self) -> None:
        """Put the images of all processes in the order of the data, in ``test_correct``, and log their sum."""
        mine = torch.cat([*self._correct, torch.zeros(0, dtype=torch.bool, device=self.device)]).long()
        counts = self._gathered(torch.tensor(len(mine), device=self.device)).view(-1)
        longest = int(counts.max())
        gathered = self._gathered(F.pad(mine, (0, longest - len(mine)))).view(len(counts), longest)
        # Rank r of w has the images r, r + w, r + 2 w, ...: the data's order goes down the columns.
        there = torch.arange(longest, device=self.device) < counts[:, None]
        correct = gathered.t()[there.t()].bool().cpu()
        count, n = int(correct.sum()), len(correct)
        metrics = {"test/accuracy": count / max(n, 1), "test/correct": float(count), "test/n": float(n)}
        self.log_dict(metrics, sync_dist=True)  # alike in all processes, which a mean keeps
        self.test_correct, self._correct = correct, []

    def _gathered(self, mine: Tensor) -> Tensor:
        """A tensor of every process, stacked where there are several; all must be of one shape."""
        everyone: Tensor = self.all_gather(mine)  # type: ignore[assignment]
        return everyone

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer over all parameters, and the schedule stepped with it."""
        optimizer = make_optimizer(self.optimizer_name, self.parameters(), **self.optimizer_settings)
        needed = self.schedule_name != "constant"  # counting the steps sets up the data
        steps = int(self.trainer.estimated_stepping_batches) if needed else 0
        schedule = make_schedule(self.schedule_name, optimizer, steps, self.warmup)
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _start(weights: str | None, net: str) -> str | None:
    """The file of a shipped model, where the weights of a net of this package are given by a model's name."""
    if weights is None or net not in NETS or Path(weights).suffix:
        return weights
    return str(model_folder(weights) / "model.safetensors")
