"""``python -m benchmarks.certified``: images certified a second, and passes an image, beside the published ways.

- loop: one image at a time, one view at a time, every pair of masks.
- published: the one-mask sets of an image as one batch, every pair at batch 1, as the published evaluation runs its
  second round.
- batched: every pair of every image in full batches, without an early exit: what batching alone gives.
- ours: :class:`blurnet.DoubleMasking`.

Same net, masks, threads, and the same answers, or it stops. Each gives the defended answer and the certificate.
"""

import argparse
import itertools
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.pictures import held_out
from blurnet.certified.double_masking import DoubleMasking
from blurnet.zoo.models import load_model

Answer = tuple[Tensor, Tensor]  #: defended answers (N,), certificates (N,) bool
FILL, BATCH = 0.5, 64

#: What is certified at least so many times as fast as this peer.
LIMITS = {"loop": 10.0, "published": 3.0}


class Counted(nn.Module):
    """The net, and how many views it was shown."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.seen = net, 0

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes)."""
        self.seen += len(x)
        logits: Tensor = self.net(x)
        return logits


def view(image: Tensor, *masks: Tensor) -> Tensor:
    """One image (3, H, W) under masks (H, W), as a batch."""
    for mask in masks:
        image = torch.where(mask, FILL, image)
    return image[None]


def answered(votes: list[int], pair: Callable[[int, int], int]) -> int:
    """Algorithm 1 from the votes under one mask; ``pair`` gives the vote under two."""
    majority = min(set(votes), key=lambda label: (-votes.count(label), label))
    for i, vote in enumerate(votes):
        if vote != majority and all(pair(i, j) == vote for j in range(len(votes))):
            return vote
    return majority


def one_by_one(net: nn.Module, images: Tensor, labels: Tensor, masks: Tensor, *, batched: bool) -> Answer:
    """The loop, and with ``batched`` one-mask sets the published way."""
    answers, proofs = [], []
    for image, label in zip(images, labels.tolist(), strict=True):
        if batched:
            votes = net(torch.cat([view(image, mask) for mask in masks])).argmax(1).tolist()
        else:
            votes = [int(net(view(image, mask)).argmax()) for mask in masks]
        pairs = itertools.combinations(range(len(masks)), 2)
        table = {(i, j): int(net(view(image, masks[i], masks[j])).argmax()) for i, j in pairs}
        table |= {(i, i): vote for i, vote in enumerate(votes)}
        answers.append(answered(votes, lambda i, j, table=table: table[min(i, j), max(i, j)]))  # type: ignore[misc]
        proofs.append(all(vote == label for vote in table.values()))
    return torch.tensor(answers), torch.tensor(proofs)


def all_pairs(net: nn.Module, images: Tensor, labels: Tensor, masks: Tensor) -> Answer:
    """Every pair of every image, in batches of images."""
    count = len(masks)
    table = torch.empty(len(images), count, count, dtype=torch.int64)
    for start in range(0, len(images), BATCH):
        part = images[start : start + BATCH]
        for i, j in itertools.combinations_with_replacement(range(count), 2):
            shown = torch.where(masks[i] | masks[j], FILL, part)
            vote = net(shown.contiguous(memory_format=torch.channels_last)).argmax(1)
            table[start : start + BATCH, i, j] = table[start : start + BATCH, j, i] = vote
    answers = [answered(one.diagonal().tolist(), lambda i, j, one=one: int(one[i, j])) for one in table]  # type: ignore[misc]
    return torch.tensor(answers), (table == labels[:, None, None]).flatten(1).all(1)


def main() -> None:
    """Parse the command line, time each way, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model",
        default="lisa_cnn-synthetic",
        help="a shipped model's name or folder; of one behind double masking the net",
    )
    parser.add_argument("--data", default="synthetic", help="its test split, such as lisa-crops:DIR")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--area", type=float, default=0.05, help="the patch's share of the image")
    parser.add_argument("--masks", type=int, default=6, help="k, along each axis; 6 is the published budget")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of torch")
    parser.add_argument("--cpu", action="store_true", help="count CPU seconds, for a machine that others use too")
    chosen = parser.parse_args()
    clock = time.process_time if chosen.cpu else time.perf_counter
    torch.set_num_threads(chosen.threads)
    model = load_model(chosen.model)
    plain = model.model if isinstance(model, DoubleMasking) else model
    net = Counted(plain.to(memory_format=torch.channels_last)).eval()
    images, labels = held_out(chosen.data, "test", chosen.images, 32)
    ours = DoubleMasking(net, area=chosen.area, masks=chosen.masks, fill=FILL, batch=BATCH, margin=0.0)
    masks = ours.mask_set_for((32, 32)).hidden()

    def certify() -> Answer:
        found = ours.certify(images, labels)
        return found.prediction, found.certified

    ways: dict[str, Callable[[], Answer]] = {
        "ours": certify,
        "batched": lambda: all_pairs(net, images, labels, masks),
        "published": lambda: one_by_one(net, images, labels, masks, batched=True),
        "loop": lambda: one_by_one(net, images, labels, masks, batched=False),
    }
    print(f"{chosen.model}, {len(images)} images of {chosen.data.partition(':')[0]}, {ours.threat((32, 32))}")
    unit = "CPU second" if chosen.cpu else "second"
    print(f"torch {torch.__version__}, {chosen.threads} threads, {len(masks)} masks\n")
    print(f"| way | images a {unit} | passes an image | ours is faster by | at least |\n|---|---:|---:|---:|---:|")
    wanted, fastest = None, 0.0
    for name, way in ways.items():
        with torch.no_grad():
            net(images[:BATCH])
            net.seen, start = 0, clock()
            found = way()
            seconds = clock() - start
        wanted, fastest = (found, seconds) if wanted is None else (wanted, fastest)
        if not all(map(torch.equal, found, wanted)):
            raise SystemExit(f"{name} gives other answers than ours")
        limit = f"{LIMITS[name]:.0f}" if name in LIMITS else ""
        speed, passes = len(images) / seconds, net.seen / len(images)
        print(f"| {name} | {speed:.1f} | {passes:.1f} | {seconds / fastest:.2f} | {limit} |")
    if wanted is not None:
        unanimous = ours.certify(images, labels).agreement
        net.seen = 0
        ours(images[unanimous])
        each = net.seen / max(int(unanimous.sum()), 1)
        print(f"\n{100 * float(wanted[1].float().mean()):.1f} % certified, "
              f"{100 * float((wanted[0] == labels).float().mean()):.1f} % answered correctly; "
              f"{int(unanimous.sum())} unanimous images cost {each:.1f} passes each to answer")  # fmt: skip


if __name__ == "__main__":
    main()
