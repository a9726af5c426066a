"""Nets trained for a few epochs from one start; what is finished stays in ``--out``."""

import argparse
from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from blurnet.quiet import quiet
from blurnet.training.classifier import Classifier
from blurnet.training.objectives.table import ObjectiveSpec
from blurnet.zoo.build import build
from blurnet.zoo.spec import DefenseSpec, ModelSpec
from reproduce._common.cells import Cells
from reproduce._common.signs import Signs


def trained(
    cells: Cells,
    key: str,
    signs: Signs,
    arguments: argparse.Namespace,
    defenses: Sequence[DefenseSpec] = (),
    objective: ObjectiveSpec | None = None,
) -> nn.Module:
    """A net trained as the arguments say, from ``cells`` where it is finished; in evaluation mode, on the device.

    Args:
        cells: where the weights are kept, under ``key``.
        key: fit for a file's name.
        signs, arguments: see :func:`load_signs`.
        defenses: inserted after the start's weights are loaded.
        objective: None is natural training.
    """

    def fit() -> dict[str, Tensor]:
        with torch.random.fork_rng(), quiet(log=True):
            torch.manual_seed(arguments.seed)
            return _fit(signs, arguments, list(defenses), objective)

    with torch.random.fork_rng(devices=[]):  # drawn weights that are replaced at once
        net = build(ModelSpec("lisa_cnn", list(signs.data.classes), list(defenses)))
    net.load_state_dict(cells.tensors(key, fit))
    return net.requires_grad_(False).eval().to(arguments.device, memory_format=torch.channels_last)


def _fit(
    signs: Signs, arguments: argparse.Namespace, defenses: list[DefenseSpec], objective: ObjectiveSpec | None
) -> dict[str, Tensor]:
    """The weights after the last epoch; none is chosen by its validation accuracy."""
    weights = None if signs.start is None else str(signs.start)
    classifier = Classifier(
        signs.data.classes, defenses=defenses, objective=objective, weights=weights, lr=arguments.lr
    )
    batches = None if arguments.train is None else -(-arguments.train // arguments.batch)
    trainer = pl.Trainer(
        accelerator="gpu" if arguments.device.startswith("cuda") else "cpu",
        devices=1,
        max_epochs=arguments.epochs,
        limit_train_batches=batches,
        limit_val_batches=0,
        gradient_clip_val=arguments.clip,  # pairing of the baseline's large logits diverges without
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(classifier, datamodule=signs.data)
    weights_now = {name: value.detach().cpu() for name, value in classifier.net.state_dict().items()}
    if bad := [name for name, value in weights_now.items() if not bool(value.isfinite().all())]:
        raise ValueError(f"training diverged: {bad[0]} is not finite; give a lower --lr or --clip")
    return weights_now
