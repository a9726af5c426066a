"""Golden attacks: every attack called directly on a small net, whose weights and images are golden files too."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from golden_store import DATA
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import blurnet
from blurnet import (
    BPDA,
    EOT,
    FGSM,
    LGS,
    PGD,
    RP2,
    AdversarialPatch,
    AutoPatch,
    Ball,
    BestLocation,
    BitDepth,
    HardLabel,
    LaVAN,
    LowFrequency,
    PatchPGD,
    PatchRandomSearch,
    Place,
    Poses,
    RandomResizePad,
    Square,
    Transfer,
    WithPenalty,
    WorstOf,
)

CLASSES, SIZE, IMAGES = 5, 16, 6


class Problem(NamedTuple):
    """Classes 1 to 4 as victims; class 0 stays free as a target."""

    net: nn.Module
    other: nn.Module  #: trained from another seed, for transfer
    images: Tensor
    labels: Tensor
    mask: Tensor


def _empty_net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 5, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5))


def record_problem(folder: Path) -> None:
    """Train the nets, draw the images and save them: attacks on another machine begin at the same numbers."""
    generator = torch.Generator().manual_seed(0)
    templates = F.interpolate(torch.rand(CLASSES, 3, 4, 4, generator=generator), SIZE)

    def draw(labels: Tensor) -> Tensor:
        return 0.25 + 0.2 * templates[labels] + 0.3 * torch.rand(len(labels), 3, SIZE, SIZE, generator=generator)

    kept: dict[str, Tensor] = {}
    for seed, name in enumerate(("net", "other")):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = _empty_net()
        adam = torch.optim.Adam(net.parameters(), lr=0.01)
        for _ in range(40):
            labels = torch.randint(CLASSES, (32,), generator=generator)
            loss = F.cross_entropy(net(draw(labels)), labels)
            adam.zero_grad()
            loss.backward()
            adam.step()
        kept |= {f"{name}.{key}": value for key, value in net.state_dict().items()}
    labels = torch.arange(IMAGES) % 4 + 1
    save_file({**kept, "images": draw(labels), "labels": labels}, folder / "problem.safetensors")


def load_problem(folder: Path = DATA) -> Problem:
    """The problem as it was recorded."""
    kept = load_file(folder / "problem.safetensors")
    nets = []
    for name in ("net", "other"):
        net = _empty_net()
        net.load_state_dict({k.removeprefix(f"{name}."): v for k, v in kept.items() if k.startswith(f"{name}.")})
        nets.append(net.eval())
    mask = torch.zeros(SIZE, SIZE)
    mask[4:10, 5:11] = 1
    return Problem(*nets, kept["images"], kept["labels"], mask)


@dataclass(frozen=True)
class Brighten:
    """A random view of an image: a factor on its brightness and noise, the same on every three channels."""

    amount: float = 0.1

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Images (N, C, H, W) to the same shape."""
        n, c, h, w = x.shape
        factor = 1 + self.amount * (2 * torch.rand(n, 1, 1, 1, generator=generator) - 1)
        noise = 0.02 * torch.randn(n, min(c, 3), h, w, generator=generator)
        return x * factor + noise.repeat(1, -(-c // 3), 1, 1)[:, :c]


@dataclass(frozen=True)
class Rough:
    """What a picture costs an attacker: the sum of its squared differences between neighbours."""

    def __call__(self, pictures: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) to (N,)."""
        return sum(pictures.diff(dim=axis).square().sum((1, 2, 3)) for axis in (-2, -1))


MOVES = (Brighten(), Brighten(0.2))
COLORS = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1]])
LINF, L2, L1 = Ball("linf", 0.06), Ball("l2", 0.8), Ball("l1", 8.0)
STEPS = 8
STRAIGHT = Poses(rotation=0.0, where=(0.5, 0.5))


def _several(mask: Tensor) -> Tensor:
    """A mask of its own for each image (N, 1, H, W)."""
    return torch.stack([mask.roll((n, -n), (0, 1))[None] for n in range(IMAGES)])


def _universal(**settings: Any) -> AdversarialPatch:
    poses = Poses(where=(0.5, 0.5), shift=(0.1, 0.1), scale=(0.9, 1.1), brightness=(0.8, 1.2))
    return AdversarialPatch(**{"area": 0.2, "steps": 20, "check_every": 5, "poses": poses, **settings})


Make = Callable[[Problem], Any]

ATTACKS: dict[str, Make] = {
    "rp2": lambda p: RP2(0, p.mask, steps=STEPS),
    "rp2-reached": lambda p: RP2(0, p.mask, steps=STEPS, keep="reached"),
    "rp2-last": lambda p: RP2(0, p.mask, steps=STEPS, keep="last", clip=0.4),
    "rp2-untargeted": lambda p: RP2(None, p.mask, steps=STEPS),
    "rp2-l1-margin": lambda p: RP2(0, p.mask, steps=STEPS, lam=1e-3, norm="l1", loss="margin"),
    "rp2-printable": lambda p: RP2(0, p.mask, steps=STEPS, nps=1e-3, printable=COLORS, nps_on="color"),
    "rp2-printable-noise": lambda p: RP2(0, p.mask, steps=STEPS, nps=1e-3, printable=COLORS),
    "rp2-high-resolution": lambda p: RP2(0, p.mask, steps=STEPS, size=40, lr=0.3),
    "rp2-restarts": lambda p: RP2(0, p.mask, steps=STEPS, restarts=2, seed=3),
    "rp2-transformed": lambda p: RP2(0, p.mask, steps=STEPS, transformations=MOVES),
    "rp2-transformed-image": lambda p: RP2(0, p.mask, steps=STEPS, transformations=MOVES, transform="image"),
    "autopatch": lambda p: AutoPatch(area=0.08, budget="quick"),
    "autopatch-mask": lambda p: AutoPatch(mask=p.mask, budget="quick", source=p.other),
    "lavan": lambda p: LaVAN(0, p.mask, steps=STEPS),
    "lavan-second": lambda p: LaVAN("second", p.mask, steps=STEPS),
    "lavan-least-likely": lambda p: LaVAN("least-likely", p.mask, steps=STEPS),
    "lavan-untargeted": lambda p: LaVAN(None, p.mask, steps=STEPS),
    "lavan-raw-gradient": lambda p: LaVAN(0, p.mask, steps=STEPS, optimizer="gradient", lr=0.5),
    "lavan-adam": lambda p: LaVAN(0, p.mask, steps=STEPS, optimizer="adam"),
    "lavan-random": lambda p: LaVAN("random", p.mask, steps=STEPS),
    "lavan-network": lambda p: LaVAN(None, p.mask, steps=STEPS, domain="network"),
    "lavan-border": lambda p: LaVAN(None, Place(0.1, "border", 2), steps=STEPS),
    "lavan-own-masks": lambda p: LaVAN(None, _several(p.mask), steps=STEPS),
    "patch-pgd": lambda p: PatchPGD(p.mask, steps=STEPS),
    "patch-pgd-sign": lambda p: PatchPGD(p.mask, steps=STEPS, optimizer="sign", loss="cross-entropy"),
    "patch-pgd-adam-target": lambda p: PatchPGD(p.mask, 0, steps=STEPS, optimizer="adam", lr=0.1),
    "patch-pgd-dlr": lambda p: PatchPGD(p.mask, "second", steps=STEPS, loss="dlr"),
    "patch-pgd-any": lambda p: PatchPGD(p.mask, "second", wins="any", steps=STEPS, start="gray"),
    "patch-pgd-all-steps": lambda p: PatchPGD(p.mask, "least-likely", steps=STEPS, stop=False),
    "patch-pgd-restarts": lambda p: PatchPGD(p.mask, steps=4, restarts=3, start="image", seed=5),
    "patch-pgd-add": lambda p: PatchPGD(p.mask, steps=STEPS, composition="add", optimizer="adam", lr=0.1),
    "patch-pgd-transformed": lambda p: PatchPGD(p.mask, steps=STEPS, eot_samples=3, transformations=MOVES),
    "patch-pgd-place": lambda p: PatchPGD(Place(0.1, "anywhere", 1), steps=STEPS),
    "low-frequency": lambda p: LowFrequency(p.mask, steps=STEPS, band=8, composition="replace"),
    "low-frequency-add": lambda p: LowFrequency(_several(p.mask), steps=STEPS, band=4),
    "best-location": lambda p: BestLocation(PatchPGD(steps=STEPS), size=6, stride=5),
    "best-location-list": lambda p: BestLocation(LaVAN(0, steps=STEPS), size=6, shortlist=4),
    "best-location-tries": lambda p: BestLocation(
        PatchPGD(steps=4), area=0.06, shortlist=6, tries=3, probe="noise", probe_steps=2, loss="cross-entropy"
    ),
    "penalty": lambda p: WithPenalty(PatchPGD(p.mask, steps=STEPS), Rough(), 0.01),
    "universal": lambda p: _universal(shape="square"),
    "universal-target": lambda p: _universal(target=0),
    "universal-noise": lambda p: _universal(shape="square", start="noise", optimizer="sign", poses=STRAIGHT),
    "universal-samples": lambda p: _universal(target=0, loss="cross-entropy", samples=2, batch=5, optimizer="sgd"),
    "patch-search": lambda p: PatchRandomSearch(0.06, steps=30),
    "patch-search-mask": lambda p: PatchRandomSearch(mask=p.mask, steps=30),
    "patch-search-target": lambda p: PatchRandomSearch(mask=p.mask, target=0, steps=30, stop=False),
    "hard-label": lambda p: HardLabel(0.15, steps=30),
    "hard-label-mask": lambda p: HardLabel(mask=p.mask, steps=30),
    "square-linf": lambda p: Square(LINF, steps=30),
    "square-l2": lambda p: Square(L2, steps=30, target="second", stop=False),
    "eot": lambda p: EOT(PatchPGD(p.mask, steps=STEPS), 2),
    "transfer": lambda p: Transfer(PatchPGD(p.mask, steps=STEPS, stop=False), p.other, "other"),
    "bpda": lambda p: BPDA(PatchPGD(p.mask, steps=STEPS), p.other),
    "worst-of": lambda p: WorstOf([LaVAN(None, p.mask, steps=3), PatchPGD(p.mask, steps=4)]),
    "fgsm-linf": lambda p: FGSM(LINF),
    "fgsm-l2": lambda p: FGSM(L2),
    "fgsm-l1": lambda p: FGSM(L1),
    "fgsm-targeted": lambda p: FGSM(L2, target="second"),
    "pgd-linf": lambda p: PGD(LINF, steps=STEPS),
    "pgd-l2": lambda p: PGD(L2, steps=STEPS),
    "pgd-l1": lambda p: PGD(L1, steps=STEPS),
    "pgd-linf-targeted": lambda p: PGD(LINF, steps=STEPS, target=0),
    "pgd-l1-targeted": lambda p: PGD(L1, steps=STEPS, target="second"),
    "pgd-random-target": lambda p: PGD(LINF, steps=STEPS, target="random", loss="dlr"),
    "pgd-whole-batch": lambda p: PGD(LINF, steps=STEPS, stop=False, loss="margin"),
    "pgd-momentum": lambda p: PGD(L2, steps=STEPS, momentum=0.75, restarts=3, loss="dlr"),
    "pgd-transformed": lambda p: PGD(LINF, steps=STEPS, eot_samples=2, transformations=MOVES),
}

#: Cases run on other models than the plain net: through surrogates, and on one that draws at random.
DEFENDED: dict[str, tuple[Make, Callable[[], tuple[nn.Module, ...]]]] = {
    "patch-pgd on lgs": (ATTACKS["patch-pgd"], lambda: (LGS(),)),
    "autopatch on bits": (ATTACKS["autopatch"], lambda: (BitDepth(3),)),
    "rp2 on bits": (ATTACKS["rp2"], lambda: (BitDepth(3),)),
    "eot on random": (ATTACKS["eot"], lambda: (RandomResizePad(1.3, grow=False),)),
    "pgd on lgs and bits": (ATTACKS["pgd-linf"], lambda: (LGS(), BitDepth(4))),
    "patch-search on lgs": (ATTACKS["patch-search"], lambda: (LGS(),)),
}

#: Under a mask of 3 x 3 pixels most images stand for long, so that every step and stage counts.
SMALL: dict[str, Make] = {
    "autopatch small": lambda p: AutoPatch(area=0.02, budget="quick", source=p.other),
    "best-location-tries small": lambda p: BestLocation(
        PatchPGD(steps=STEPS), size=3, shortlist=6, tries=3, probe="noise", probe_steps=2
    ),
    "hard-label small": lambda p: HardLabel(0.04, steps=60),
    "patch-search small": lambda p: PatchRandomSearch(0.04, steps=60),
    **{
        f"{name} small": ATTACKS[name]
        for name in ("autopatch-mask", "lavan-untargeted", "lavan-network", "patch-pgd", "patch-pgd-dlr", "penalty")
    },
    **{
        f"{name} small": ATTACKS[name]
        for name in ("patch-pgd-restarts", "patch-pgd-transformed", "low-frequency", "worst-of", "rp2-untargeted")
    },
}

CASES = [*ATTACKS, *SMALL, *DEFENDED, "rp2-against", "universal-train"]


def compute(case: str, problem: Problem) -> Tensor:
    """The adversarial images of a case, (N, 3, 16, 16) in [0, 1]."""
    images, labels = problem.images, problem.labels
    if case == "rp2-against":
        attack = RP2(None, problem.mask, steps=STEPS, transformations=MOVES, restarts=2)
        return attack.against(problem.net, images[:2], labels[:2], [0, None, 4]).adversarial.flatten(0, 1)
    if case == "universal-train":
        patch = _universal(target=0, shape="square").train(problem.net, images, labels)
        side = patch.pixels.shape[-1]
        pasted = images.clone()
        pasted[..., 2 : 2 + side, 3 : 3 + side] = patch.pixels
        return pasted
    if case in DEFENDED:
        make, stages = DEFENDED[case]
        model = blurnet.adaptive(blurnet.defend(problem.net, *stages()).eval())
        return make(problem)(model, images, labels)
    if case in SMALL:
        small = torch.zeros(SIZE, SIZE)
        small[5:8, 6:9] = 1
        return SMALL[case](problem._replace(mask=small))(problem.net, images, labels)
    return ATTACKS[case](problem)(problem.net, images, labels)


def beside(case: str, problem: Problem) -> Tensor:
    """The clean images of a case's result, which it is stored as a change of."""
    return problem.images[:2].repeat(3, 1, 1, 1) if case == "rp2-against" else problem.images


def fooled(adversarial: Tensor, problem: Problem, case: str) -> int:
    """How many of a case's images the net, without defenses, answers otherwise than the clean ones."""
    with torch.no_grad():
        before, after = (problem.net(x).argmax(1) for x in (beside(case, problem), adversarial))
    return int((before != after).sum())


def packed(name: str, adversarial: Tensor, clean: Tensor) -> dict[str, Tensor]:
    """Only the values that differ from the clean images, with their places; nearly all of them: the whole."""
    changed = (adversarial != clean).flatten()
    if int(changed.sum()) > 0.6 * changed.numel():
        return {name: adversarial.contiguous()}
    places = changed.nonzero().squeeze(1)
    return {f"{name}/places": places.to(torch.int16), f"{name}/values": adversarial.flatten()[places]}


def unpacked(name: str, kept: dict[str, Tensor], clean: Tensor) -> Tensor:
    """What :func:`packed` was given."""
    if name in kept:
        return kept[name]
    whole = clean.clone().flatten()
    whole[kept[f"{name}/places"].long()] = kept[f"{name}/values"]
    return whole.view_as(clean)
