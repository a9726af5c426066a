"""``python -m benchmarks.run``: one table of ratios in one run, each the median of interleaved repeats.

Rows compare blurnet with the bare minimum: the same net and batch in plain PyTorch without our code. Set the
allocator as ``make bench`` does; page faults of fresh large tensors otherwise dominate on small machines.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from benchmarks.attacks import pgd_step
from benchmarks.bare import bare_epoch, bare_pgd_epoch, bare_rp2
from benchmarks.patch import BATCH, times
from benchmarks.timing import medians
from blurnet.attacks.universal.rp2 import RP2
from blurnet.data.labels import label_names
from blurnet.layers.insert import insert_after
from blurnet.layers.lowpass import LearnedLowPass
from blurnet.masks import rp2_stickers
from blurnet.nets.lisa_cnn import LisaCNN
from blurnet.training.classifier import Classifier
from blurnet.training.objectives.table import ObjectiveSpec

Row = tuple[str, float, float, float]


def rp2_step(rounds: int) -> Row:
    """RP2 against 17 targets on 40 victims, per step, beside the bare loop."""
    net = LisaCNN().to(memory_format=torch.channels_last)
    images, labels, targets = torch.rand(40, 3, 32, 32), torch.full((40,), 14), [t for t in range(18) if t != 14]
    steps = 4
    attack = RP2(None, rp2_stickers(), steps=steps)
    frozen = LisaCNN().to(memory_format=torch.channels_last).eval().requires_grad_(False)
    times = medians(
        {
            "bare": lambda: (bare_rp2(frozen, images, rp2_stickers(), torch.tensor(targets), steps), _forward(frozen)),
            "ours": lambda: attack.against(net, images, labels, targets),
        },
        rounds,
        "RP2 step",
    )
    return "RP2 step, 17 targets x 40 victims", times["ours"] / steps, times["bare"] / steps, 1.05


def _forward(net: nn.Module) -> Tensor:
    """What any attack pays once besides its steps: the clean answers and those of the result."""
    with torch.no_grad():
        return net(torch.rand(40 + 17 * 40, 3, 32, 32))


class _Batches:
    """A fixed list of batches as a loader."""

    def __init__(self, count: int) -> None:
        self.items = [(torch.rand(128, 3, 32, 32), torch.randint(0, 18, (128,))) for _ in range(count)]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def _fit(classifier: Classifier, batches: _Batches) -> None:
    """One epoch of Lightning's fit."""
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(classifier, batches)


def _bare_net() -> tuple[nn.Module, torch.optim.Optimizer]:
    net = LisaCNN().to(memory_format=torch.channels_last)
    return net, torch.optim.SGD(net.parameters(), 0.01, 0.9, weight_decay=5e-4, nesterov=True)


def training_step(rounds: int) -> Row:
    """A step of Classifier in Lightning's fit, beside the bare loop; set-up of the trainer included in ours."""
    batches, (bare, optimizer) = _Batches(20), _bare_net()
    classifier = Classifier(classes=list(label_names(18)), lr=0.01, schedule="constant")
    entries = {"bare": lambda: bare_epoch(bare, batches.items, optimizer), "ours": lambda: _fit(classifier, batches)}
    times = medians(entries, rounds, "training step")
    return "training step, batch 128", times["ours"] / len(batches), times["bare"] / len(batches), 1.10


def pgd_training_step(rounds: int) -> Row:
    """A step of PGD adversarial training in Lightning's fit, beside the bare loop of the same objective."""
    batches, (bare, optimizer) = _Batches(8), _bare_net()
    attack = {"radius": 8 / 255, "steps": 7, "step_size": 2 / 255}
    objective = ObjectiveSpec("pgd", dict(attack))
    classifier = Classifier(classes=list(label_names(18)), objective=objective, lr=0.01, schedule="constant")
    entries = {
        "bare": lambda: bare_pgd_epoch(bare, batches.items, optimizer, **attack),  # type: ignore[arg-type]
        "ours": lambda: _fit(classifier, batches),
    }
    times = medians(entries, rounds, "PGD training step")
    return "PGD-7 training step, batch 128", times["ours"] / len(batches), times["bare"] / len(batches), 1.10


def learned_filter(rounds: int, memory_format: torch.memory_format = torch.channels_last) -> Row:
    """Forward of LISA-CNN with a 7x7 learned low-pass, beside the plain net."""
    plain = LisaCNN().eval().to(memory_format=memory_format)
    filtered = insert_after(LisaCNN(), "relu1", LearnedLowPass(64, 7)).eval().to(memory_format=memory_format)
    images = torch.rand(128, 3, 32, 32).contiguous(memory_format=memory_format)

    def forward(net: nn.Module) -> Tensor:
        with torch.no_grad():
            return net(images)

    layout = "channels last" if memory_format == torch.channels_last else "default layout"
    times = medians({"bare": lambda: forward(plain), "ours": lambda: forward(filtered)}, 5 * rounds, "7x7 low-pass")
    return f"forward with 7x7 low-pass, {layout}", times["ours"], times["bare"], 1.25


def learned_filter_default(rounds: int) -> Row:
    """The same in PyTorch's default memory layout."""
    return learned_filter(rounds, torch.contiguous_format)


def patch_step(rounds: int) -> Row:
    """A step of the universal patch beside a bare batched affine-grid loop; ``benchmarks.patch`` adds ART."""
    found = times(rounds, peers=False)
    return f"patch step in random poses, batch {BATCH}", found["ours"], found["bare"], 1.20


def import_time(rounds: int) -> Row:
    """``import blurnet`` beside ``import torch``, each in a fresh interpreter."""

    def start(module: str) -> None:
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)

    times = medians({"bare": lambda: start("torch"), "ours": lambda: start("blurnet")}, rounds, "import")
    return "import blurnet / import torch", times["ours"], times["bare"], 1.25


BENCHMARKS = {
    "rp2": rp2_step,
    "patch": patch_step,
    "pgd": pgd_step,
    "training": training_step,
    "pgd-training": pgd_training_step,
    "filter": learned_filter,
    "filter-default": learned_filter_default,
    "import": import_time,
}


def main() -> None:
    """Parse the command line, run the chosen benchmarks, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=BENCHMARKS, nargs="+", default=list(BENCHMARKS), help="rows to run")
    parser.add_argument("--rounds", type=int, default=7, help="interleaved repeats; the median counts")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = [BENCHMARKS[name](arguments.rounds) for name in arguments.only]
    print(f"torch {torch.__version__}, {arguments.threads} threads, median of {arguments.rounds} interleaved rounds")
    print(f"\n| {'what':<46} | blurnet (ms) | bare (ms) | ratio | at most |\n|{'-' * 48}|---:|---:|---:|---:|")
    for what, ours, bare, limit in rows:
        print(f"| {what:<46} | {1e3 * ours:12.2f} | {1e3 * bare:9.2f} | {ours / bare:5.3f} | {limit:7.2f} |")


if __name__ == "__main__":
    main()
