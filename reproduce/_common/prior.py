"""Deep Protection: published attacks on photos, and what a net says of them along the iterations of a prior."""

import argparse
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from blurnet.attacks.base import Attack
from blurnet.attacks.published import PUBLISHED, published_attack
from blurnet.attacks.wrappers.smallest import SmallestRadius
from blurnet.transforms.deep_image_prior.fit import fit_prior
from blurnet.transforms.deep_image_prior.nets import NETS
from blurnet.transforms.deep_image_prior.settings import DeepImagePriorSettings
from blurnet.transforms.deep_image_prior.stopping import (
    MovingVariance,
    Rule,
    SmoothedPSNR,
    Snapshots,
    SnapshotWatcher,
    WindowedVariance,
)
from reproduce._common.answers import logits

#: The poster names none of its eight. These are foolbox's that stand for its families (NewtonFool is our own).
ATTACKS = (
    *("fgsm", "bim", "pgd-foolbox", "momentum"),
    *("deepfool", "carlini-wagner", "newtonfool", "salt-and-pepper"),
)

#: Rules that need no label, by name.
RULES: dict[str, Rule] = {"ES-WMV": WindowedVariance(), "ES-EMV": MovingVariance(), "DIPDefend": SmoothedPSNR()}

Seen = dict[str, Any]


def prior_arguments(parser: argparse.ArgumentParser, iterations: int = 1750) -> None:
    """Add what :func:`prior_settings` reads, with so many iterations by default."""
    parser.add_argument("--net", choices=tuple(NETS), default="small", help='of the prior (default: "small")')
    parser.add_argument(
        "--iterations", type=int, default=iterations, help=f"of the prior (default: {iterations}; the poster: 1750)"
    )


def prior_settings(arguments: argparse.Namespace) -> DeepImagePriorSettings:
    """The prior of a command line."""
    return DeepImagePriorSettings(arguments.iterations, net=arguments.net, seed=arguments.seed)


def attack_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what :func:`attack_of` reads."""
    parser.add_argument(
        "--attacks", nargs="+", choices=ATTACKS, default=list(ATTACKS), metavar="NAME", help="(default: all eight)"
    )
    parser.add_argument(
        "--radii",
        type=float,
        nargs="+",
        default=[8.0],
        help="linf, in 1/255, of the attacks that keep to one (default: 8); of several the smallest that fools, as "
        "foolbox before version 2",
    )
    parser.add_argument(
        "--attack-steps",
        nargs="+",
        default=["carlini-wagner=50", "salt-and-pepper=200"],
        metavar="NAME=N",
        help="of attacks that have such (default: carlini-wagner=50 salt-and-pepper=200, others as their library)",
    )


def attack_of(name: str, arguments: argparse.Namespace) -> Attack:
    """A published attack with the settings of a command line; its library's own otherwise."""
    radii = sorted(radius / 255 for radius in arguments.radii)
    steps = dict(text.split("=") for text in arguments.attack_steps)
    count = int(steps[name]) if name in steps else None
    attack = published_attack(name, radius=radii[-1], steps=count, seed=arguments.seed)
    return SmallestRadius(attack, tuple(radii)) if PUBLISHED[name].bounded and len(radii) > 1 else attack


def grid(iterations: int, every: int) -> tuple[int, ...]:
    """Every so many iterations, and the last."""
    return tuple(sorted({*range(every, iterations + 1, every), iterations}))


def watch(
    net: nn.Module, images: Tensor, labels: Tensor, settings: DeepImagePriorSettings, at: Sequence[int]
) -> list[Seen]:
    """Run the prior once on each image, and ask the net along the way; one entry an image.

    Args:
        net: images to logits.
        images: (N, 3, H, W), what the prior draws.
        labels: true classes (N,).
        settings: of the prior; it runs all its iterations.
        at: iterations, rising, at which the net is asked.

    Returns:
        By image: "input", what the net says of the image itself: "answer", "top5" (whether the true class is among the
        five most likely) and "probability" (of that answer). "answers", "top5" and "probabilities": the same along
        ``at``, the probabilities those of the answer on the image itself. "rules": each rule's "at", "answer", "top5".
    """
    rules = [Snapshots(tuple(at)), *RULES.values()]
    chunks = fit_prior(images, settings, rules)
    taken = torch.cat([torch.stack(cast(SnapshotWatcher, chunk[0]).taken) for chunk in chunks], 1).clamp(0, 1)
    start = logits(net, images)
    first = start.argmax(1)
    asked = [_said(start, labels, first), *(_said(logits(net, x), labels, first) for x in taken)]
    stops = {}
    for number, name in enumerate(RULES, start=1):
        best = torch.cat([chunk[number].best for chunk in chunks]).clamp(0, 1)
        stops[name] = _said(logits(net, best), labels, first), torch.cat([chunk[number].at for chunk in chunks])
    return [
        {
            "input": {"answer": asked[0][0][i], "top5": asked[0][1][i], "probability": asked[0][2][i]},
            "answers": [answer[i] for answer, _, _ in asked[1:]],
            "top5": [top5[i] for _, top5, _ in asked[1:]],
            "probabilities": [probability[i] for _, _, probability in asked[1:]],
            "rules": {
                name: {"at": int(stop[i]), "answer": said[0][i], "top5": said[1][i]}
                for name, (said, stop) in stops.items()
            },
        }
        for i in range(len(images))
    ]


def _said(scores: Tensor, labels: Tensor, of: Tensor) -> tuple[list[int], list[bool], list[float]]:
    """Answers, whether the label is among the five best, and the probability of the class ``of``."""
    five = scores.topk(min(5, scores.shape[1]), dim=1).indices
    chosen = scores.float().softmax(1).gather(1, of[:, None]).squeeze(1)
    top5 = (five == labels[:, None]).any(1)
    return scores.argmax(1).tolist(), top5.tolist(), [round(p, 5) for p in chosen.tolist()]


def first_top5(seen: Seen, at: Sequence[int]) -> int | None:
    """The iteration at which the true class first is among the five most likely; None: never. It takes the label."""
    return next((iteration for iteration, inside in zip(at, seen["top5"], strict=True) if inside), None)
