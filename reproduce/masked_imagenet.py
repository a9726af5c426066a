"""Certified masking on ImageNet: a pretrained net behind double masking, as it is and taught to answer under masks.

    python -m reproduce.masked_imagenet --data-root DIR [--net NAME] [--masks K ...] [--judge validation] [--json FILE]

The threat is one square of 2 % of a photo, 32 of 224 pixels, anywhere. Photos are those of ``imagenet-nips2017``, whole
and stretched to a square, and of ``imagenet-val``; they are parted by the order of their tables:

- test: the first 100 of imagenet-nips2017. No setting was chosen on them, and nobody trained on them;
- validation: the next 100, on which settings and ``--mix`` were chosen (``--judge validation``);
- training: the other 300, and the 800 of imagenet-val. Their labels are not used.

Masked self-distillation: two masks of double masking hide parts of each photo, chosen one after the other among
``--tries`` drawn as those that lead furthest from what the net answered at its start to the whole photo; the net is
pulled back to that. BatchNorm's statistics, the stem and the first ``--frozen`` stages stay as they are. The weights
certified lie on the line from the start to the end, ``--mix`` of the way (Wortsman et al. 2022, "Robust fine-tuning of
zero-shot models").

- clean: right without the defense; defended: right behind it; certified: right whatever the patch shows, anywhere;
- agreeing: photos, in percent, of which all views under one mask get one answer: the defense then asks no more of the
  net than these k x k views;
- passes: views of a photo that the certificate asked the net for, their mean. It stops at the first wrong one;
- seconds: of the processor for a photo and its certificate. Not of the clock: neighbours on a machine do not count.

An interrupted run goes on where it was: the last epoch and finished batches stay in ``--out``.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, TQDMProgressBar
from torch import Tensor, nn
from tqdm import tqdm

from blurnet.certified.double_masking import DoubleMasking
from blurnet.data.images import ImageFiles, ImageTensors, Split
from blurnet.files import fill, save_weights
from blurnet.quiet import quiet
from blurnet.training.classifier import Classifier
from blurnet.training.objectives.table import ObjectiveSpec
from reproduce._common.answers import correct
from reproduce._common.arguments import add_json, add_machine, add_out, command, new_parser, set_threads
from reproduce._common.cells import Cells
from reproduce._common.imagenet import MORE_PHOTOS, NETS, PartedPhotos, seen_as
from reproduce._common.marks import marks, paired, rate
from reproduce._common.photos import PHOTOS, fingerprint
from reproduce._common.tables import markdown, shown, write_rows

#: Photos of one cell: what is lost when a certificate is interrupted.
SHARD = 20


class Clock(pl.Callback):
    """Seconds of the processor that training took, over all starts of a run."""

    def __init__(self) -> None:
        self.seconds, self._begun = 0.0, 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count."""
        self._begun = time.process_time()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add this epoch."""
        self.seconds += time.process_time() - self._begun

    def state_dict(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Go on from a checkpoint."""
        self.seconds = state_dict["seconds"]


def objective(arguments: argparse.Namespace) -> ObjectiveSpec:
    """Pull the net under two masks to what it answered at its start to the whole photo."""
    args = {"area": None, "patch": arguments.patch, "masks": arguments.train_masks, "tries": arguments.tries}
    return ObjectiveSpec("masked", {**args, "clean": 0.0, "distill": 1.0, "teacher": "start", "certify": False})


def taught(start: nn.Module, data: PartedPhotos, cells: Cells, arguments: argparse.Namespace) -> tuple[nn.Module, int]:
    """The net, ``--mix`` of the way from the start to the last epoch, and the processor's seconds of the training."""

    def fit() -> dict[str, Tensor]:
        with torch.random.fork_rng(), quiet(log=True):
            torch.manual_seed(arguments.seed)
            return _fit(start, data, cells, arguments)

    found = cells.tensors("taught", fit)
    seconds = round(float(found.pop("seconds")))
    before, net = start.state_dict(), NETS[arguments.net].load(arguments.data_root)
    part = {name: value.lerp(found[name], arguments.mix) for name, value in before.items() if name in moved(net)}
    return fill(net, {**found, **part}, "the weights of this run"), seconds


def moved(net: nn.Module) -> set[str]:
    """Names of what training moves: all parameters, no counters."""
    return {name for name, _ in net.named_parameters()}


def _fit(start: nn.Module, data: PartedPhotos, cells: Cells, arguments: argparse.Namespace) -> dict[str, Tensor]:
    spec, file = NETS[arguments.net], cells.stem.with_name(f"{cells.stem.name}-start.safetensors")
    save_weights(start, file)
    classifier = Classifier(
        data.classes,
        net=spec.net,
        net_args=spec.net_args,
        objective=objective(arguments),
        weights=str(file),
        lr=arguments.lr,
        weight_decay=0.0,
        freeze_batchnorm=True,
    )
    inner: Any = seen_as(classifier.net).net
    for part in (inner.conv_stem, inner.bn1, *inner.blocks[: arguments.frozen]):
        part.requires_grad_(False)
    folder = cells.stem.with_name(f"{cells.stem.name}-epochs")
    clock, last = Clock(), folder / "last.ckpt"
    trainer = pl.Trainer(
        accelerator="gpu" if arguments.device.startswith("cuda") else "cpu",
        devices=1,
        max_epochs=arguments.epochs,
        limit_val_batches=0,
        gradient_clip_val=arguments.clip,
        logger=False,
        callbacks=[
            clock,
            TQDMProgressBar(refresh_rate=5),
            ModelCheckpoint(folder, "last", enable_version_counter=False),
        ],
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(classifier, datamodule=data, ckpt_path=str(last) if last.is_file() else None)
    weights = {name: value.detach().cpu() for name, value in classifier.net.state_dict().items()}
    if bad := [name for name, value in weights.items() if not bool(value.isfinite().all())]:
        raise ValueError(f"training diverged: {bad[0]} is not finite; give a lower --lr or --clip")
    return {**weights, "seconds": torch.tensor(clock.seconds)}


def proofs(
    name: str, net: nn.Module, masks: int, photos: ImageTensors, cells: Cells, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Marks of all photos, and the sums of passes and seconds over them."""
    net = net.requires_grad_(False).to(arguments.device, memory_format=torch.channels_last)
    defended = DoubleMasking(net, patch=arguments.patch, masks=masks, batch=arguments.batch)

    def look(places: range) -> dict[str, Any]:
        images, labels = (part.to(arguments.device) for part in photos.batch(places))
        clean, begun = correct(net, images, labels), time.process_time()
        found = defended.certify(images, labels)
        said = {"clean": clean, "defended": found.prediction == labels, "certified": found.certified}
        said["agreeing"] = found.agreement
        seconds = time.process_time() - begun
        return {**{k: marks(v) for k, v in said.items()}, "passes": int(found.passes.sum()), "seconds": seconds}

    if name == TAUGHT:
        name = f"{name}, {arguments.mix:g} of the way"
    parts = []
    for first in tqdm(range(0, len(photos), SHARD), desc=f"{name}, k = {masks}", unit="shard"):
        places = range(first, min(first + SHARD, len(photos)))
        key = f"{arguments.judge} | {name} | {masks} | {places.start}-{places.stop}"
        parts.append(cells.get(key, lambda places=places: look(places)))
    text = {k: "".join(part[k] for part in parts) for k in COLUMNS}
    return {**text, **{k: sum(part[k] for part in parts) for k in ("passes", "seconds")}}


COLUMNS = ("clean", "defended", "certified", "agreeing")
PLAIN, TAUGHT = "as it is", "masked self-distillation"


def row(name: str, masks: int, found: dict[str, Any]) -> dict[str, Any]:
    """One line of the table, as written to JSON."""
    n = len(found["clean"])
    measured = {k: rate(found[k]) for k in COLUMNS[:3]}
    cost = {"passes": round(found["passes"] / n, 1), "seconds": round(found["seconds"] / n, 2)}
    agreeing = round(100 * found["agreeing"].count("1") / n, 1)
    return {"row": name, "masks": masks, "measured": measured, "agreeing": agreeing, **cost}


def _line(found: dict[str, Any]) -> list[str]:
    rates = [shown(found["measured"][column]) for column in COLUMNS[:3]]
    cost = [f"{found['agreeing']:.0f}", f"{found['passes']:.0f}", f"{found['seconds']:.1f}"]
    return [found["row"], str(found["masks"]), *rates, *cost]


def verdict(masks: int, plain: dict[str, Any], now: dict[str, Any]) -> str:
    """What training changed, photo by photo."""
    told = []
    for column in ("certified", "clean"):
        change = paired(now[column], plain[column])
        told.append(f"{column} +{change['gained']} -{change['lost']} (sign test p = {change['p']:g})")
    return f"k = {masks}, photos won and lost by training: {'; '.join(told)}."


def parse() -> argparse.Namespace:
    """The command line."""
    parser = new_parser(__doc__)
    parser.add_argument("--data-root", type=Path, required=True, help=f"folder that holds {PHOTOS}/, {MORE_PHOTOS}/")
    parser.add_argument(
        "--net", choices=tuple(NETS), default="efficientnet-lite0", help="(default: efficientnet-lite0)"
    )
    parser.add_argument("--masks", type=int, nargs="+", default=[3, 6], help="k of the certificates (default: 3 6)")
    parser.add_argument("--judge", choices=("test", "validation"), default="test", help="photos (default: test)")
    parser.add_argument("--limit", type=int, default=100, help="photos judged, the first ones (default: 100)")
    parser.add_argument("--image-size", type=int, default=224, help="side of the photos in pixels (default: 224)")
    parser.add_argument("--patch", type=int, default=32, help="side of the patch in pixels (default: 32)")
    parser.add_argument("--train-masks", type=int, default=3, help="k of the masks in training (default: 3)")
    parser.add_argument("--tries", type=int, default=2, help="masks drawn for each of the two (default: 2)")
    parser.add_argument("--epochs", type=int, default=2, help="over the training photos; 0: no training (default: 2)")
    parser.add_argument("--lr", type=float, default=0.01, help="highest rate of the cycle (default: 0.01)")
    parser.add_argument("--clip", type=float, default=2.0, help="largest norm of a gradient (default: 2)")
    parser.add_argument("--frozen", type=int, default=2, help="first stages that are not trained (default: 2)")
    parser.add_argument("--mix", type=float, default=0.5, help="share of the way to the end (default: 0.5)")
    parser.add_argument("--batch", type=int, default=24, help="photos, or views, side by side (default: 24)")
    parser.add_argument("--held-out", type=int, default=100, help="photos of test and of validation (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="of order, augmentation and masks (default: 0)")
    add_machine(parser)
    add_out(parser, "runs/masked_imagenet", "the last epoch, weights and finished batches")
    add_json(parser)
    return parser.parse_args()


#: What decides the certificates of a net, and with these the weights after training.
CERTIFIES = ("net", "image_size", "patch", "batch", "held_out")
TRAINS = ("train_masks", "tries", "epochs", "lr", "clip", "frozen", "seed")


def photos(arguments: argparse.Namespace) -> PartedPhotos:
    """The photos, and how those of training are varied: cut to a rectangle of at least half, and mirrored."""
    sizes = {"test": arguments.held_out, "val": arguments.held_out, "image_size": arguments.image_size}
    order = {"batch_size": arguments.batch, "seed": arguments.seed}
    return PartedPhotos(root=arguments.data_root, **sizes, **order, brightness=0.0, shift=0, crop=0.5, flip=True)


def main() -> None:
    """Print the table and what it says; write the rows where asked."""
    arguments = parse()
    set_threads(arguments)
    data = photos(arguments)
    start = NETS[arguments.net].load(arguments.data_root)
    splits: dict[Split, ImageFiles] = {split: data.files(split) for split in ("train", "val", "test")}
    prints = {split: fingerprint(files, list(range(len(files))), start) for split, files in splits.items()}
    decided = {name: getattr(arguments, name) for name in (*CERTIFIES, *TRAINS)} | {"fingerprints": prints}
    cells = Cells(arguments.out, "masked_imagenet", decided)
    files = splits["val" if arguments.judge == "validation" else "test"]
    n = min(arguments.limit, len(files))
    judged = ImageFiles(files.paths[:n], files.labels[:n], files.classes, files.image_size, files.fit).load()
    # What is proven of the start does not depend on the training: it is kept apart, for every training.
    kept_plain = Cells(arguments.out, "plain", {name: decided[name] for name in (*CERTIFIES, "fingerprints")})
    nets, seconds = {PLAIN: (start, kept_plain)}, None
    if arguments.epochs:
        net, seconds = taught(start, data, cells, arguments)
        nets[TAUGHT] = net, cells
    found = {
        (name, masks): proofs(name, net, masks, judged, kept, arguments)
        for masks in arguments.masks
        for name, (net, kept) in nets.items()
    }
    rows = [row(name, masks, one) for (name, masks), one in found.items()]
    header = [f"{arguments.net}, n={n}", "k", *COLUMNS, "passes", "seconds"]
    print(markdown(header, [_line(found) for found in rows]))
    said = [] if seconds is None else [verdict(k, found[PLAIN, k], found[TAUGHT, k]) for k in arguments.masks]
    print("", *said, sep="\n")
    sizes = {split: len(files) for split, files in splits.items()}
    asked = {name: getattr(arguments, name) for name in ("judge", "limit", "mix")}
    more = {"verdict": said, "training_seconds": seconds, "settings": {**decided, **asked, "photos": sizes}}
    write_rows(arguments.json, rows, **more, command=command("masked_imagenet"))


if __name__ == "__main__":
    main()
