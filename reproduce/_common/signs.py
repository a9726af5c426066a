"""Signs for the scripts on robust training: LISA crops, held out by track, or rendered signs, which need no files.

Every net of a table begins at the shipped baseline of its data (or anew, with ``--start scratch``), is trained for the
same number of epochs on the same batches and is attacked on the same held-out images.
"""

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blurnet.data.module import LisaCropsData, SignData, SyntheticData
from blurnet.evaluation.images import Pool
from blurnet.rates import Rate
from blurnet.zoo.models import models_root
from reproduce._common.arguments import add_json, add_machine, add_out, crops_folder, new_parser, set_threads
from reproduce._common.marks import rate

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

    def rate(self, text: str) -> Rate:
        """The share of ones among the marks of all held-out or of the attacked images; whole tracks are resampled."""
        return rate(text, (self.held_out if len(text) == len(self.held_out) else self.attacked).groups)


def training_parser(doc: str | None, out: str, *, epochs: int, limit: int, radius: float) -> argparse.ArgumentParser:
    """A parser with what both scripts take.

    Args:
        doc: what ``--help`` says.
        out: default of ``--out``.
        epochs: default number of them.
        limit: images attacked by default.
        radius: of training and attacks by default, in units of 1/255.
    """
    parser = new_parser(doc)
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
    add_machine(parser)
    add_out(parser, out, "what is finished")
    add_json(parser)
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
    set_threads(arguments)
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
    return LisaCropsData(crops_folder(arguments.root), **options)


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
