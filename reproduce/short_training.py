"""What the scripts on robust training share: signs, nets trained for a few epochs from one start, attacks counted.

The signs are LISA crops, held out by track, or rendered signs, which need no files. Every net of a table begins at the
shipped baseline of its data (or anew, with ``--start scratch``), is trained for the same number of epochs on the same
batches and is attacked on the same held-out images. What is finished stays in ``--out``.
"""

import argparse
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from blurnet.evaluation.pool import Pool
from scipy.stats import binomtest
from torch import Tensor, nn

from blurnet.attacks.base import Attack
from blurnet.cli.shared import quiet
from blurnet.data.module import LisaCropsData, SignData, SyntheticData
from blurnet.training.classifier import Classifier
from blurnet.training.objectives.table import ObjectiveSpec
from blurnet.zoo.build import build
from blurnet.zoo.models import models_root
from blurnet.zoo.spec import DefenseSpec, ModelSpec
from reproduce.cells import Cells
from reproduce.lgs_setup import marks

#: The shipped baseline of each data set, where training starts.
BASELINES = {"lisa-crops": "lisa_cnn", "synthetic": "lisa_cnn-synthetic"}

#: As many rendered signs as LISA has crops, to a multiple of the 17 classes.
SYNTHETIC_TRAIN, SYNTHETIC_TEST = 3485, 1020


@dataclass(frozen=True, eq=False)
class Signs:
    """Training data, held-out images, and the weights that nets start from."""

    data: SignData
    held_out: Pool  #: all of them, for the clean accuracy
    attacked: Pool  #: those under attack
    start: Path | None  #: None: from scratch
    fingerprint: str  #: of the images and the start


def training_parser(doc: str | None, out: str, *, epochs: int, limit: int, radius: float) -> argparse.ArgumentParser:
    """A parser with what both scripts take.

    Args:
        doc: what ``--help`` says.
        out: default of ``--out``.
        epochs: default number of them.
        limit: images attacked by default.
        radius: of training and attacks by default, in units of 1/255.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=list(BASELINES), default="synthetic", help="default: rendered signs")
    parser.add_argument("--root", type=Path, help="of lisa-crops: its folder or the one above")
    parser.add_argument(
        "--start", choices=("baseline", "scratch"), default="baseline", help="the shipped baseline's weights, or none"
    )
    parser.add_argument("--epochs", type=int, default=epochs, help=f"of each training (default: {epochs})")
    parser.add_argument("--train", type=int, help="so many training images at most (default: all)")
    parser.add_argument("--lr", type=float, default=0.02, help="highest rate of the one cycle (default: 0.02)")
    parser.add_argument("--clip", type=float, default=1.0, help="largest norm of a step's gradient (default: 1)")
    parser.add_argument("--batch", type=int, default=128, help="images side by side (default: 128)")
    parser.add_argument("--radius", type=float, default=radius, help=f"linf, in 1/255 (default: {radius:g})")
    parser.add_argument("--limit", type=int, default=limit, help=f"held-out images attacked (default: {limit})")
    parser.add_argument("--seed", type=int, default=0, help="of training and attacks (default: 0)")
    parser.add_argument("--device", default="cpu", help='"cpu" or "cuda" (default: cpu)')
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's own choice)")
    parser.add_argument("--out", type=Path, default=Path(out), help=f"what is finished (default: {out})")
    parser.add_argument("--json", type=Path, help="write the rows here")
    return parser


def load_signs(arguments: argparse.Namespace) -> Signs:
    """The signs that the arguments of :func:`training_parser` name.

    Raises:
        ValueError: a folder missing or superfluous, or a number below 1.
        FileNotFoundError, NotADirectoryError: nothing there.
    """
    for name in ("epochs", "train", "batch", "limit"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name}: expected at least 1, got {value}")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    data = _data(arguments)
    data.setup()
    test, name = data.split("test"), f"{arguments.data} (test)"
    held_out = Pool(test, data.classes, name, shard=256)
    attacked = Pool(test, data.classes, name, limit=arguments.limit, shard=arguments.batch)
    folder = models_root() / BASELINES[arguments.data]
    start = folder / "model.safetensors" if arguments.start == "baseline" else None
    return Signs(data, held_out, attacked, start, _fingerprint(data, start))


def _data(arguments: argparse.Namespace) -> SignData:
    if (arguments.data == "lisa-crops") != (arguments.root is not None):
        raise ValueError(f"--root goes with --data lisa-crops, got {arguments.data} and {arguments.root}")
    options: dict[str, Any] = {"batch_size": arguments.batch, "seed": arguments.seed}
    if arguments.data == "synthetic":
        return SyntheticData(arguments.train or SYNTHETIC_TRAIN, 17, SYNTHETIC_TEST, **options)
    inside = arguments.root / "lisa-crops"
    return LisaCropsData(inside if inside.is_dir() else arguments.root, **options)


def _fingerprint(data: SignData, start: Path | None) -> str:
    """Changes with the images, their labels and the weights that training starts from."""
    digest = hashlib.sha256(b"" if start is None else start.read_bytes())
    for split in ("train", "test"):
        items = data.split(split)  # type: ignore[arg-type]
        digest.update(items.images.contiguous().numpy().tobytes() + items.labels.numpy().tobytes())  # type: ignore[attr-defined]
    return digest.hexdigest()[:16]


def settings(signs: Signs, arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    """What decides a run's nets: the images, the start, and arguments by name. Attacks stand in the cells' names."""
    common = ("data", "start", "epochs", "train", "lr", "clip", "batch", "radius", "seed")
    return {"fingerprint": signs.fingerprint, **{name: getattr(arguments, name) for name in (*common, *names)}}


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
        with torch.random.fork_rng(), quiet():
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
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
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


def batched(pool: Pool, device: str, look: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Marks of a pool's images: what ``look(images, labels)`` says of each, (N,) bool, shard by shard."""
    found = []
    for shard in range(pool.shards):
        images, labels = pool.read(pool.places(shard))
        found.append(marks(look(images.to(device), labels.to(device))))
    return "".join(found)


def right(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Where the net answers with the label, (N,) bool."""
    with torch.no_grad():
        answers: Tensor = net(images).argmax(dim=1) == labels
    return answers


def right_under(net: nn.Module, attack: Attack, images: Tensor, labels: Tensor) -> Tensor:
    """Where the net answers with the label, both without and under attack, (N,) bool."""
    standing = right(net, images, labels)
    if bool(standing.any()):
        chosen = standing.nonzero().squeeze(1)
        standing[chosen] = right(net, attack(net, images[chosen], labels[chosen]), labels[chosen])
    return standing


def paired(one: str, other: str) -> dict[str, Any]:
    """Marks of the same images compared: how many only ``one`` has, how many only ``other``, and the sign test's p."""
    gained = sum(a == "1" and b == "0" for a, b in zip(one, other, strict=True))
    lost = sum(a == "0" and b == "1" for a, b in zip(one, other, strict=True))
    p = 1.0 if gained + lost == 0 else float(binomtest(gained, gained + lost).pvalue)
    return {"gained": gained, "lost": lost, "p": round(p, 4)}
