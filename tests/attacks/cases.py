"""The table of the conformance suite: every attack, and what of the suite does not apply to it.

``"name": Case(lambda m: MyAttack(..., m))`` is a masked attack; ``budget=InBall(ball)`` or ``InSquare(side)`` says that
something else binds it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from blurnet.attacks.autopatch import AutoPatch
from blurnet.attacks.ball.newtonfool import NewtonFool
from blurnet.attacks.ball.pgd import FGSM, PGD
from blurnet.attacks.ball.square import Square
from blurnet.attacks.base import Attack
from blurnet.attacks.engine.views import Brightness, Noise, Perspective, Rotation
from blurnet.attacks.patch.hard_label import HardLabel
from blurnet.attacks.patch.lavan import LaVAN
from blurnet.attacks.patch.location import BestLocation
from blurnet.attacks.patch.low_frequency import LowFrequency
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.attacks.patch.race import PatchRace, Rung
from blurnet.attacks.patch.random_search import PatchRandomSearch
from blurnet.attacks.universal.adversarial_patch import AdversarialPatch
from blurnet.attacks.universal.held_out import HeldOutPatch
from blurnet.attacks.universal.poses import Poses
from blurnet.attacks.universal.rp2 import RP2
from blurnet.attacks.wrappers.model import EOT
from blurnet.attacks.wrappers.penalty import BlockGradient, WithPenalty
from blurnet.attacks.wrappers.smallest import SmallestRadius
from blurnet.attacks.wrappers.worst_of import WorstOf
from blurnet.balls import Ball
from tests.attacks.budgets import Anything, Budget, InBall, InSquare, UnderMask
from tests.attacks.drawn import drawing

MOVES = (Rotation(5), Perspective(0.03), Brightness(0.9, 1.1), Noise(0.01))
COLORS = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1]])

STEPS = 40
UNDER_MASK = UnderMask()


@dataclass
class Case:
    """An attack; what of the suite does not apply to it is said here, with the reason."""

    make: Callable[[Tensor], Attack]  #: from the problem's mask (16, 16), which an attack without masks leaves
    budget: Budget = UNDER_MASK  #: what it may change
    per_sample: bool = True  #: False: one noise for the set, so that companions matter
    breaks: float = 0.8  #: share of the undefended net's answers it must alter
    monotone: bool = True  #: False: success while it runs is seen under random transformations
    steps: str | None = "steps"  #: its setting for how long it works; None: it has none
    enough: int = STEPS  #: so many of them break the net
    draws: bool = True  #: False: nothing is random, so that every seed gives the same
    gradient: bool = True  #: False: it asks for none


LINF, L2, L1 = Ball("linf", 0.1), Ball("l2", 1.5), Ball("l1", 15.0)


def pgd(ball: Ball = LINF, **settings: Any) -> Case:
    return Case(lambda _: PGD(ball, **settings), InBall(ball), monotone="transformations" not in settings)


def fgsm(ball: Ball = LINF, breaks: float = 0.8, **settings: Any) -> Case:
    return Case(lambda _: FGSM(ball, **settings), InBall(ball), breaks=breaks, steps=None, draws=False)


STRAIGHT = Poses(rotation=0.0, where=(0.5, 0.5))


def universal(side: int, **settings: Any) -> Case:
    """One patch for the set; at every step the best so far is tried where it is put in the end."""
    settings = {"area": 0.2, "check_every": 1, "poses": Poses(where=(0.5, 0.5), shift=(0.1, 0.1)), **settings}
    return Case(lambda _: AdversarialPatch(**settings), InSquare(side), per_sample=False, enough=100)


def held_out() -> tuple[Tensor, Tensor]:
    """Images of the problem's world that are not among its own."""
    draw, labels = drawing(torch.Generator().manual_seed(0)), torch.arange(24) % 4 + 1
    return draw(labels), labels


HELD_OUT = held_out()

ATTACKS = {
    "rp2": Case(lambda m: RP2(0, m), per_sample=False),
    "rp2-reached": Case(lambda m: RP2(0, m, keep="reached"), per_sample=False, monotone=False),
    # One noise flees four classes at once, and the gain of those it has left is unbounded.
    "rp2-untargeted": Case(lambda m: RP2(None, m), per_sample=False, breaks=0.5),
    "rp2-l1-margin": Case(lambda m: RP2(0, m, lam=1e-3, norm="l1", loss="margin"), per_sample=False),
    "rp2-printable": Case(lambda m: RP2(0, m, nps=1e-3, printable=COLORS, nps_on="color"), per_sample=False),
    "rp2-high-resolution": Case(lambda m: RP2(0, m, size=40, lr=0.3), per_sample=False),
    "rp2-restarts": Case(lambda m: RP2(0, m, restarts=2), per_sample=False),
    "rp2-transformed": Case(lambda m: RP2(0, m, transformations=MOVES), per_sample=False, monotone=False),
    "autopatch-mask": Case(lambda m: AutoPatch(mask=m, budget="quick"), steps=None),
    "lavan": Case(lambda m: LaVAN(0, m)),
    "lavan-second": Case(lambda m: LaVAN("second", m)),
    "lavan-least-likely": Case(lambda m: LaVAN("least-likely", m)),
    "lavan-untargeted": Case(lambda m: LaVAN(None, m)),
    "lavan-raw-gradient": Case(lambda m: LaVAN(0, m, optimizer="gradient", lr=0.5)),
    "lavan-adam": Case(lambda m: LaVAN(0, m, optimizer="adam")),
    "lavan-adam-untargeted": Case(lambda m: LaVAN(None, m, optimizer="adam")),
    "lavan-random": Case(lambda m: LaVAN("random", m)),
    "lavan-network": Case(lambda m: LaVAN(None, m, domain="network")),
    "patch-pgd": Case(lambda m: PatchPGD(m)),
    "patch-pgd-sign": Case(lambda m: PatchPGD(m, optimizer="sign", loss="cross-entropy")),
    "patch-pgd-adam-target": Case(lambda m: PatchPGD(m, 0, optimizer="adam", lr=0.1)),
    "patch-pgd-dlr": Case(lambda m: PatchPGD(m, "second", loss="dlr")),
    "patch-pgd-all-steps": Case(lambda m: PatchPGD(m, "least-likely", stop=False)),
    "patch-pgd-transformed": Case(lambda m: PatchPGD(m, eot_samples=3, transformations=MOVES), monotone=False),
    "low-frequency": Case(lambda m: LowFrequency(m, band=8, composition="replace")),
    "best-location": Case(lambda _: BestLocation(PatchPGD(), size=6, stride=5), InSquare(6), draws=False),
    "best-location-list": Case(lambda _: BestLocation(LaVAN(0), size=6, shortlist=4), InSquare(6), draws=False),
    "race": Case(lambda _: PatchRace(0.15, rungs=(Rung(9, 3), Rung(2, 20, 2, 1))), InSquare(6), steps=None),
    "race-mask": Case(lambda m: PatchRace(mask=m, rungs=(Rung(1, 3, 4), Rung(1, 30, 2, 1))), steps=None),
    "penalty": Case(lambda m: WithPenalty(PatchPGD(m), BlockGradient(), 0.01)),
    # A square is 7.2 pixels wide, turned 9.4; a disc 8.2. A pixel that is covered in part counts too.
    "universal": universal(11, shape="square"),
    "universal-target": universal(10, target=0),
    "universal-noise": universal(9, shape="square", start="noise", optimizer="sign", poses=STRAIGHT),
    "universal-samples": universal(10, target=0, loss="cross-entropy", samples=2, batch=5),
    # Steps are tried on other images than here; one patch must do for four classes, at places it did not choose.
    "held-out": Case(lambda _: HeldOutPatch(*HELD_OUT, area=0.15), InSquare(6), monotone=False, breaks=0.5, enough=100),
    "patch-search": Case(lambda _: PatchRandomSearch(0.15), InSquare(6), enough=200, gradient=False),
    "patch-search-mask": Case(lambda m: PatchRandomSearch(mask=m), enough=200, gradient=False),
    "patch-search-target": Case(lambda m: PatchRandomSearch(mask=m, target=0), enough=400, gradient=False),
    "hard-label": Case(lambda _: HardLabel(0.15), InSquare(6), enough=200, gradient=False),
    "hard-label-mask": Case(lambda m: HardLabel(mask=m), enough=200, gradient=False),
    "square-linf": Case(lambda _: Square(LINF), InBall(LINF), enough=200, gradient=False),
    "square-l2": Case(lambda _: Square(L2), InBall(L2), enough=200, breaks=0.7, gradient=False),
    "eot": Case(lambda m: EOT(PatchPGD(m), 2)),
    "worst-of": Case(lambda m: WorstOf([LaVAN(None, m, steps=10), PatchPGD(m, steps=10)]), steps=None),
    "smallest-radius": Case(lambda _: SmallestRadius(PGD(LINF), (0.02, 0.1)), InBall(LINF)),
    "newtonfool": Case(lambda _: NewtonFool(), Anything(), draws=False),
    "fgsm-linf": fgsm(),
    "fgsm-l2": fgsm(L2),
    "fgsm-l1": fgsm(L1, breaks=0.5),  # one step can but fill few pixels
    "fgsm-linf-targeted": fgsm(target=0),
    "fgsm-l2-targeted": fgsm(L2, target="second"),
    "fgsm-l1-targeted": fgsm(L1, breaks=0.5, target=0),
    "pgd-linf": pgd(),
    "pgd-l2": pgd(L2),
    "pgd-l1": pgd(L1),
    "pgd-linf-targeted": pgd(target=0),
    "pgd-l2-targeted": pgd(L2, target="least-likely"),
    "pgd-l1-targeted": pgd(L1, target="second"),
    "pgd-random-target": pgd(target="random", loss="dlr"),
    "pgd-whole-batch": pgd(stop=False, loss="margin"),
    "pgd-momentum": pgd(L2, momentum=0.75, restarts=3, loss="dlr"),
    "pgd-transformed": pgd(eot_samples=2, transformations=MOVES),
}
