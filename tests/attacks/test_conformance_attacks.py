"""One suite for every attack: enrol one by a line in ATTACKS.

``"name": Case(lambda m: MyAttack(..., m))`` is a masked attack; ``budget=InBall(ball)`` or ``InSquare(side)`` says that
something else binds it. What of the suite does not apply is said in its Case.
"""

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from budgets import Budget, InBall, InSquare, UnderMask
from torch import Tensor, nn

from blurnet.attacks.autopatch import AutoPatch
from blurnet.attacks.base import Attack
from blurnet.attacks.blackbox import PatchRandomSearch, Square
from blurnet.attacks.compose import EOT
from blurnet.attacks.eot import Brightness, Noise, Perspective, Rotation
from blurnet.attacks.gradient import FGSM, PGD
from blurnet.attacks.hard_label import HardLabel
from blurnet.attacks.lavan import LaVAN
from blurnet.attacks.location import BestLocation
from blurnet.attacks.low_frequency import LowFrequency
from blurnet.attacks.patch import AdversarialPatch
from blurnet.attacks.patch_pgd import PatchPGD
from blurnet.attacks.penalty import BlockGradient, WithPenalty
from blurnet.attacks.poses import Poses
from blurnet.attacks.rp2 import RP2
from blurnet.attacks.settings import replace_inside
from blurnet.attacks.worst_of import WorstOf
from blurnet.balls import Ball

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
    monotone: bool = True  #: False: success while it runs is judged under random transformations
    steps: str | None = "steps"  #: its setting for how long it works; None: it has none
    enough: int = STEPS  #: so many of them break the net
    draws: bool = True  #: False: nothing is random, so that every seed gives the same


LINF, L2, L1 = Ball("linf", 0.1), Ball("l2", 1.5), Ball("l1", 15.0)


def pgd(ball: Ball = LINF, **settings: Any) -> Case:
    return Case(lambda _: PGD(ball, **settings), InBall(ball), monotone="transformations" not in settings)


def fgsm(ball: Ball = LINF, breaks: float = 0.8, **settings: Any) -> Case:
    return Case(lambda _: FGSM(ball, **settings), InBall(ball), breaks=breaks, steps=None, draws=False)


STRAIGHT = Poses(rotation=0.0, where=(0.5, 0.5))


def universal(side: int, **settings: Any) -> Case:
    """One patch for the set; at every step the best so far is judged where it is put in the end."""
    settings = {"area": 0.2, "check_every": 1, "poses": Poses(where=(0.5, 0.5), shift=(0.1, 0.1)), **settings}
    return Case(lambda _: AdversarialPatch(**settings), InSquare(side), per_sample=False, enough=100)


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
    "lavan-raw-gradient": Case(lambda m: LaVAN(0, m, sign=False, lr=0.5)),
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
    "penalty": Case(lambda m: WithPenalty(PatchPGD(m), BlockGradient(), 0.01)),
    # A square is 7.2 pixels wide, turned 9.4; a disc 8.2. A pixel that is covered in part counts too.
    "universal": universal(11, shape="square"),
    "universal-target": universal(10, target=0),
    "universal-noise": universal(9, shape="square", start="noise", optimizer="sign", poses=STRAIGHT),
    "universal-samples": universal(10, target=0, loss="cross-entropy", samples=2, batch=5),
    "patch-search": Case(lambda _: PatchRandomSearch(0.15), InSquare(6), enough=200),
    "patch-search-mask": Case(lambda m: PatchRandomSearch(mask=m), enough=200),
    "patch-search-target": Case(lambda m: PatchRandomSearch(mask=m, target=0), enough=400),
    "hard-label": Case(lambda _: HardLabel(0.15), InSquare(6), enough=200),
    "hard-label-mask": Case(lambda m: HardLabel(mask=m), enough=200),
    "square-linf": Case(lambda _: Square(LINF), InBall(LINF), enough=200),
    "square-l2": Case(lambda _: Square(L2), InBall(L2), enough=200, breaks=0.7),
    "eot": Case(lambda m: EOT(PatchPGD(m), 2)),
    "worst-of": Case(lambda m: WorstOf([LaVAN(None, m, steps=10), PatchPGD(m, steps=10)]), steps=None),
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

each_attack = pytest.mark.parametrize("case", ATTACKS.values(), ids=ATTACKS)
MASKED = {name: case for name, case in ATTACKS.items() if isinstance(case.budget, UnderMask)}
each_masked = pytest.mark.parametrize("case", MASKED.values(), ids=MASKED)


def build(case: Case, mask: Tensor, steps: int | None = None, **changes: Any) -> Attack:
    """The case's attack with other settings, also where a wrapper holds it; ``steps`` where it has any."""
    if case.steps is not None:
        changes[case.steps] = case.enough if steps is None else steps
    return replace_inside(case.make(mask), **changes) if changes else case.make(mask)


def altered(problem: Any, adversarial: Tensor) -> Tensor:
    with torch.no_grad():
        return problem.net(adversarial).argmax(1) != problem.labels


@each_attack
def test_keeps_to_the_budget(case, problem):
    images, labels = problem.images.clone(), problem.labels.clone()
    adversarial = build(case, problem.mask)(problem.net, images, labels)
    assert adversarial.shape == images.shape
    assert adversarial.dtype == images.dtype
    assert not adversarial.requires_grad
    assert adversarial.isfinite().all()
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    case.budget.check(adversarial, problem)
    assert not torch.equal(adversarial, images)
    assert torch.equal(images, problem.images)  # the caller's tensors stay as they were
    assert torch.equal(labels, problem.labels)


@each_attack
def test_no_budget_is_the_identity(case, problem):
    attack = case.budget.none(build(case, problem.mask, steps=3))
    if attack is None:
        pytest.skip("an empty mask raises, see test_bad_masks_raise")
    assert torch.equal(attack(problem.net, problem.images, problem.labels), problem.images)


@each_masked
@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 1, 16, 16)], ids=str)
def test_mask_shapes_and_types_are_equivalent(case, shape, problem):
    attack = build(case, problem.mask, steps=3)
    same = build(case, problem.mask.bool().view(shape), steps=3)
    first = attack(problem.net, problem.images, problem.labels)
    assert torch.equal(first, same(problem.net, problem.images, problem.labels.int()))


@each_attack
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_works_without_gradients(case, mode, problem):
    wanted = build(case, problem.mask, steps=5)(problem.net, problem.images, problem.labels)
    with mode():
        # Made here they are inference tensors, which no backward pass may keep.
        images, labels, mask = problem.images.clone(), problem.labels.clone(), problem.mask.clone()
        assert torch.equal(build(case, mask, steps=5)(problem.net, images, labels), wanted)


@each_attack
def test_the_model_is_left_as_it_was(case, problem):
    net = copy.deepcopy(problem.net).train()
    net[1].eval()
    net[0].bias.requires_grad_(False)
    before = copy.deepcopy(net.state_dict())

    def check() -> None:
        assert [m.training for m in net.modules()] == [True, True, False, True, True, True, True]
        assert [p.requires_grad for p in net.parameters()] == [True, False, True, True, True, True]
        assert all(p.grad is None for p in net.parameters())
        assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())

    attack = build(case, problem.mask, steps=2)
    attack(net, problem.images, problem.labels)
    check()
    calls: list[bool] = []

    def fail(module: nn.Module, *_: Any) -> None:
        calls.append(module.training)
        if len(calls) == 3:
            raise RuntimeError("out of memory")

    handle = net.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        attack(net, problem.images, problem.labels)
    handle.remove()
    assert calls == [False] * 3
    check()


@each_attack
def test_seeds(case, problem):
    state = torch.get_rng_state()
    attack = build(case, problem.mask, steps=4, seed=3)
    first, again = (attack(problem.net, problem.images, problem.labels) for _ in range(2))
    assert torch.equal(first, again)
    other = build(case, problem.mask, steps=4, seed=4)(problem.net, problem.images, problem.labels)
    assert torch.equal(first, other) != case.draws
    assert torch.equal(state, torch.get_rng_state())


@each_attack
def test_no_steps_give_the_start(case, problem):
    """Random from the seed, inside the budget; under a mask the same noise for all, whatever the target."""
    if case.steps is None:
        pytest.skip("it has no steps")
    start = build(case, problem.mask, steps=0, seed=1)(problem.net, problem.images, problem.labels)
    other = build(case, problem.mask, steps=0, seed=2)(problem.net, problem.images, problem.labels)
    case.budget.check(start, problem)
    assert torch.equal(start, other) != case.draws
    if case.per_sample and case.draws and isinstance(case.budget, UnderMask):
        patches = (start * problem.mask).unbind()
        assert all(torch.equal(patch, patches[0]) for patch in patches)


@each_attack
def test_more_steps_are_not_weaker(case, problem):
    if not case.monotone or case.steps is None:
        pytest.skip("it has no steps, or success while it runs is judged otherwise than here")
    counts = []
    for steps in (0, 3, 10, case.enough):
        adversarial = build(case, problem.mask, steps=steps)(problem.net, problem.images, problem.labels)
        counts.append(int(altered(problem, adversarial).sum()))
    assert counts == sorted(counts)


@each_attack
def test_beats_random_noise_and_breaks_the_net(case, problem):
    random = case.budget.noise(problem, torch.Generator().manual_seed(0))
    adversarial = build(case, problem.mask)(problem.net, problem.images, problem.labels)
    assert altered(problem, adversarial).sum() > altered(problem, random).sum()
    assert altered(problem, adversarial).float().mean() >= case.breaks


@each_attack
def test_alone_equals_in_a_batch(case, problem):
    if not case.per_sample:
        pytest.skip("one noise for the whole set")
    # In double precision: a sign hides no rounding error of batched convolutions.
    net, images, attack = copy.deepcopy(problem.net).double(), problem.images.double(), build(case, problem.mask)
    together = attack(net, images, problem.labels)
    alone = [attack(net, x[None], y[None]) for x, y in zip(images, problem.labels, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone))
    turned = attack(net, images.flip(0), problem.labels.flip(0)).flip(0)
    torch.testing.assert_close(together, turned)


@each_attack
def test_any_callable_is_a_model(case, problem):
    attack = build(case, problem.mask, steps=3)
    wanted = attack(problem.net, problem.images, problem.labels)
    assert torch.equal(attack(lambda x: problem.net(x), problem.images, problem.labels), wanted)


@each_attack
def test_is_a_value(case, problem):
    attack = build(case, problem.mask, seed=7)
    assert "seed=7" in repr(attack)
    assert case.steps is None or f"{case.steps}={case.enough}" in repr(attack)
    assert "tensor" not in repr(attack)
    with pytest.raises(dataclasses.FrozenInstanceError):
        attack.seed = 8


BAD_IMAGES = {
    "range": lambda x: x * 255,
    "negative": lambda x: x - 0.5,
    "NaN": lambda x: x * torch.nan,
    "channels": lambda x: x[:, :1],
    "one image": lambda x: x[0],
    "bytes": lambda x: (x * 255).byte(),
}


@each_attack
@pytest.mark.parametrize("spoil", BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_bad_images_raise_before_the_model_runs(case, spoil, problem):
    def model(_: Tensor) -> Tensor:
        raise AssertionError("the model ran")

    with pytest.raises((ValueError, TypeError), match="images: "):
        build(case, problem.mask)(model, spoil(problem.images), problem.labels)


@each_masked
def test_bad_masks_raise(case, problem):
    net, images, labels = problem.net, problem.images, problem.labels
    for mask in (torch.ones(16, 15), torch.ones(3, 16, 16), problem.mask * 0.5, problem.mask * 0):
        with pytest.raises(ValueError, match="mask: "):
            build(case, mask)(net, images, labels)


@each_attack
def test_bad_labels_and_logits_raise(case, problem):
    net, images, labels = problem.net, problem.images, problem.labels
    for wrong in (labels[:-1], labels + 4, labels - 2, labels.float()):
        with pytest.raises((ValueError, TypeError), match="labels: "):
            build(case, problem.mask)(net, images, wrong)
    for model in (lambda x: net(x) * torch.nan, lambda x: net(x)[:-1], lambda x: (net(x),), lambda x: net(x).argmax(1)):
        with pytest.raises((ValueError, TypeError), match="logits: "):
            build(case, problem.mask)(model, images, labels)


TARGETED = [
    lambda t, m: RP2(t, m),
    lambda t, m: LaVAN(t, m),
    lambda t, _: PGD(LINF, target=t),
    lambda t, _: AdversarialPatch(t),
]


@pytest.mark.parametrize("make", TARGETED)
@pytest.mark.parametrize("target", [-1, 5, 2])
def test_bad_targets_raise(make, target, problem):
    message = "is the true class of some" if target == 2 else "expected 0 to 4"
    attack = make(target, problem.mask)
    with pytest.raises(ValueError, match=f"{type(attack).__name__} target: .*{message}"):
        attack(problem.net, problem.images, problem.labels)
