"""``python -m benchmarks.autopatch``: AutoPatch beside a plain ascent over all places, image by image, at what calls.

- ascent: the peer. Every place of the square at stride 1 with 10 steps, the best 30 with 80 steps from 2 starts, the
  best 6 with 300 steps from 6 starts, half of them black and white: 22,360 calls for an image of 32 pixels that stands.
- stages before: AutoPatch as it was until 0.2, every stage at up to four places of a shortlist, one after another.
- autopatch: :class:`blurnet.AutoPatch` with ``--budget``.

Held-out images are evenly spaced over the test split; those that a model answers correctly are attacked. Printed are
the robust accuracy, the calls an image, how many images one way leaves and another breaks, and robust accuracy over
calls.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.pictures import held_out
from blurnet.attacks.autopatch import BUDGETS, AutoPatch
from blurnet.attacks.base import Attack
from blurnet.attacks.engine.losses import margin
from blurnet.attacks.engine.targets import Rank
from blurnet.attacks.patch.lavan import LaVAN
from blurnet.attacks.patch.location import BestLocation
from blurnet.attacks.patch.low_frequency import LowFrequency
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.attacks.patch.random_search import PatchRandomSearch
from blurnet.attacks.wrappers.worst_of import WorstOf
from blurnet.masks import Place, grid_boxes, patch_side
from blurnet.zoo.models import load_model

AREA, SIDE = 0.05, 32
WAYS = ("ascent", "stages before", "autopatch")
POINTS = (100, 300, 1000, 3000, 10_000, 22_400)  #: calls at which robust accuracy is read off

#: The ascent's rounds: places, starts, steps.
ROUNDS = ((676, 1, 10), (30, 2, 80), (6, 6, 300))
BATCH = 104
TOGETHER = 5  #: images attacked side by side

Found = tuple[list[bool], list[int]]  #: of each image whether it fell, and after how many calls
Way = Callable[[nn.Module, Tensor, Tensor], Found]


def ascent(net: nn.Module, images: Tensor, labels: Tensor) -> Found:
    """The plain ascent, one image after another."""
    found = [ascend_everywhere(net, image, label) for image, label in zip(images, labels, strict=True)]
    return [fell for fell, _ in found], [calls + 1 for _, calls in found]


def ascend_everywhere(net: nn.Module, image: Tensor, label: Tensor) -> tuple[bool, int]:
    """Three rounds over the places of one image (3, H, W): whether one broke it, and the calls."""
    generator, calls = torch.Generator().manual_seed(0), 0
    size = (image.shape[-2], image.shape[-1])
    places, side = grid_boxes(size, patch_side(size, AREA)), patch_side(size, AREA)
    for count, starts, steps in ROUNDS:
        places = places[:count]
        drawn = torch.rand(starts, 3, side, side, generator=generator)
        if starts > 2:
            drawn[starts // 2 :] = drawn[starts // 2 :].round()
        reached = []
        for start in drawn:
            for part in places.split(BATCH):
                best, cost = climb_margin(net, image, label, part, start.expand(len(part), -1, -1, -1), steps)
                calls += cost
                if best is None:
                    return True, calls
                reached.append(best)
        most = torch.cat(reached).view(starts, -1).amax(dim=0)
        places = places[most.argsort(descending=True)]
    return False, calls


def climb_margin(
    net: nn.Module, image: Tensor, label: Tensor, boxes: Tensor, patch: Tensor, steps: int
) -> tuple[Tensor | None, int]:
    """Momentum-sign steps on one image's margin with a patch in each box: the highest (P,), None once it is broken."""
    momentum, best = torch.zeros_like(patch), torch.full((len(boxes),), -torch.inf)
    labels, (top, _, left, _) = label.expand(len(boxes)), boxes.unbind(1)
    rows = (top[:, None] + torch.arange(patch.shape[-2]))[:, :, None]
    columns = (left[:, None] + torch.arange(patch.shape[-1]))[:, None, :]
    for step in range(steps):
        patch = patch.detach().requires_grad_()
        picture = image.repeat(len(boxes), 1, 1, 1)
        picture[torch.arange(len(boxes))[:, None, None], :, rows, columns] = patch.movedim(1, -1)
        logits = net(picture.contiguous(memory_format=torch.channels_last))
        lead = -margin(logits, labels)
        best = torch.maximum(best, lead.detach())
        if bool((lead > 1e-5 * logits.abs().amax(dim=1)).any()):
            return None, (step + 1) * len(boxes)
        (gradient,) = torch.autograd.grad(lead.sum(), patch)
        momentum = 0.9 * momentum + gradient / gradient.abs().mean((1, 2, 3), keepdim=True).clamp(min=1e-12)
        size = 0.5 * (1 - step / steps) + 0.01
        patch = (patch + size * momentum.sign()).clamp(0, 1)
    return best, steps * len(boxes)


def stages_before(band: int = round(0.25 * SIDE)) -> Attack:
    """AutoPatch "standard" as it was: its stages in their order, without views and transfer."""
    pgd = PatchPGD(steps=100)

    def placed(attack: Attack) -> Attack:
        return BestLocation(attack, AREA, shortlist=32, tries=4)

    targeted = [placed(replace(pgd, target=Rank(k), wins="any")) for k in (1, 2, 3)]
    added = replace(pgd, loss="cross-entropy", optimizer="adam", lr=0.1, composition="add")
    low = LowFrequency(steps=100, band=band, composition="replace")
    border = LaVAN(None, Place(AREA, "border"), steps=100)
    last = [placed(added), border, placed(low), PatchRandomSearch(AREA, steps=500)]
    return WorstOf([placed(pgd), *targeted, *last])


def by_attack(attack: Attack) -> Way:
    """An attack of the package as a way."""

    def run(net: nn.Module, images: Tensor, labels: Tensor) -> Found:
        record = attack.record(net, images, labels)
        with torch.no_grad():
            wrong = net(record.adversarial).argmax(dim=1) != labels
        return wrong.tolist(), record.calls.tolist()

    return run


class Kept:
    """Results by model, way and images, in a file where one is given: what it holds already is not run again."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.found = path, json.loads(path.read_text()) if path and path.is_file() else {}

    def run(self, key: str, way: Way, net: nn.Module, images: Tensor, labels: Tensor) -> Found:
        """The way's results of all images, written down after every few."""
        broken, calls = self.found.setdefault(key, ([], []))
        with tqdm(total=len(images), initial=len(calls), desc=key) as bar:
            while len(calls) < len(images):
                part = slice(len(calls), len(calls) + TOGETHER)
                fell, cost = way(net, images[part], labels[part])
                broken.extend(fell)
                calls.extend(cost)
                bar.update(len(cost))
                if self.path:
                    self.path.write_text(json.dumps(self.found))
        return broken, calls


def show(name: str, count: int, right: int, found: dict[str, Found]) -> None:
    """The tables of one model: of ``count`` images the clean net is right on ``right``."""
    print(f"\n{name}: {right} of {count} images right before any attack\n")
    print("| way | robust accuracy | calls, mean | most | leaves what autopatch breaks | breaks what it leaves |")
    print("|---|---:|---:|---:|---:|---:|")
    ours = found["autopatch"][0]
    for way, (broken, calls) in found.items():
        weaker = sum(not one and other for one, other in zip(broken, ours, strict=True))
        stronger = sum(one and not other for one, other in zip(broken, ours, strict=True))
        robust = 100 * (right - sum(broken)) / count
        print(f"| {way} | {robust:.1f} % | {sum(calls) / len(calls):,.0f} | {max(calls):,} | {weaker} | {stronger} |")
    print(f"\n| robust accuracy after calls | {' | '.join(f'{c:,}' for c in POINTS)} |\n|---|{'---:|' * len(POINTS)}")
    for way, (broken, calls) in found.items():
        cells = []
        for point in POINTS:
            fell = sum(one and cost <= point for one, cost in zip(broken, calls, strict=True))
            cells.append(f"{100 * (right - fell) / count:.1f} %")
        print(f"| {way} | {' | '.join(cells)} |")


def main() -> None:
    """Parse the command line, run every way on every model, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["lisa_cnn-patch", "lisa_cnn-patch-doa", "lisa_cnn-trades"])
    parser.add_argument("--data", required=True, help="such as lisa-crops:DIR")
    parser.add_argument("--split", choices=("val", "test"), default="test", help="settings are chosen on val")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--budget", choices=tuple(BUDGETS), default="standard", help="of AutoPatch")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS, help="what is run; all for the tables")
    parser.add_argument("--json", type=Path, help="where results are kept; what it holds already is not run again")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    images, labels = held_out(chosen.data, chosen.split, chosen.images, SIDE)
    attack = AutoPatch(AREA, budget=chosen.budget)
    ways: dict[str, Way] = {
        "ascent": ascent,
        "stages before": by_attack(stages_before()),
        "autopatch": by_attack(attack),
    }
    kept = Kept(chosen.json)
    for name in chosen.models:
        net = load_model(name).requires_grad_(False).to(memory_format=torch.channels_last).eval()
        with torch.no_grad():
            right = net(images).argmax(dim=1) == labels
        found: dict[str, Found] = {}
        for way in chosen.ways:
            what = f"{way} {chosen.budget}" if way == "autopatch" else way
            key = f"{name}, {what}, {len(images)} of {chosen.split}"
            found[way] = kept.run(key, ways[way], net, images[right], labels[right])
        if "autopatch" in found:
            show(name, len(images), int(right.sum()), found)


if __name__ == "__main__":
    main()
