"""RP2 as BlurNet's white-box table takes it: against every target, on all victims, at its strongest setting."""

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

from blurnet.attacks.universal.rp2 import RP2
from blurnet.data.sources.rp2 import STOP, authors_weights
from blurnet.data.sources.victims import Victims
from blurnet.layers.insert import insert_after
from blurnet.layers.lowpass import FixedLowPass
from blurnet.nets.lisa_cnn import LisaCNN
from reproduce._common.answers import answers

#: RP2's settings for every net of the tables; for each net the one that alters most counts. ``reproduce.rp2_sweep``
#: shows what more steps, restarts, other weights of the norm and step sizes add to them.
ATTACKS: tuple[dict[str, Any], ...] = ({"steps": 60}, {"steps": 150, "loss": "margin"})
#: Targets side by side: more of them than this only spill the processor's cache.
CHUNK = 4


def authors_net(root: Path) -> nn.Module:
    """The RP2 authors' net as released, in evaluation mode."""
    net = LisaCNN(18).eval()
    net.load_state_dict(authors_weights(root))
    return net


def filtered(net: nn.Module, place: str | None, size: int) -> nn.Module:
    """A net with a box filter on the input or behind a layer, or without any, in evaluation mode."""
    if place == "input":
        net = nn.Sequential(FixedLowPass(size), net)
    elif place is not None:
        net = insert_after(net, place, FixedLowPass(size))
    return net.eval()


def strongest(net: nn.Module, victims: Victims, attacks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of the attack that alters most (victim, target) pairs."""
    return max((attack_victims(net, victims, **settings) for settings in attacks), key=lambda run: sum(run["altered"]))


def attack_victims(net: nn.Module, victims: Victims, steps: int, **settings: Any) -> dict[str, Any]:
    """RP2 against every target: how many victims the strongest step and the last step alter.

    ``settings`` are RP2's own; without them the step is 0.2 and lambda 0.002.
    """
    start = time.monotonic()
    mask = victims.masks["stickers"]
    targets = [t for t in range(len(victims.classes)) if t != STOP]
    attack = RP2(None, mask, steps=steps, **{"lr": 0.2, "lam": 0.002} | settings)
    clean = answers(net, victims.images)
    runs = [_attack_some(net, attack, victims, clean, targets[i : i + CHUNK]) for i in range(0, len(targets), CHUNK)]
    found: dict[str, list[Any]] = {key: [value for run in runs for value in run[key]] for key in runs[0]}
    return {
        "victims": int((clean == victims.labels).sum()),
        "attack": repr(attack),
        "altered": found["altered"],
        "altered_last": found["altered_last"],
        "reached": found["reached"],
        "dissimilarity": mean(found["dissimilarity"]),
        "seconds_attack": round(time.monotonic() - start, 1),
    }


def _attack_some(
    net: nn.Module, attack: RP2, victims: Victims, clean: Tensor, targets: list[int]
) -> dict[str, list[Any]]:
    """The figures of some targets, a list each."""
    run = attack.against(net, victims.images, victims.labels, targets)
    kept = torch.stack([answers(net, x) for x in run.adversarial])
    last = torch.stack([answers(net, (victims.images + attack.mask * noise).clamp(0, 1)) for noise in run.last])
    size = (run.adversarial - victims.images).flatten(2).norm(dim=2) / run.adversarial.flatten(2).norm(dim=2)
    return {
        "altered": (kept != clean).sum(1).tolist(),
        "altered_last": (last != clean).sum(1).tolist(),
        "reached": (kept == torch.tensor(targets)[:, None]).sum(1).tolist(),
        "dissimilarity": size.mean(1).tolist(),
    }
