"""One suite for every attack: enrol one by a line in ATTACKS of ``cases.py``, which says what does not apply to it."""

import copy
import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blurnet.attacks.ball.pgd import PGD
from blurnet.attacks.base import STANDING, WRONG, Attack
from blurnet.attacks.engine.losses import margin
from blurnet.attacks.engine.settings import replace_inside
from blurnet.attacks.patch.lavan import LaVAN
from blurnet.attacks.universal.adversarial_patch import AdversarialPatch
from blurnet.attacks.universal.rp2 import RP2
from blurnet.masks import mask_boxes
from tests.attacks.budgets import InBall, UnderMask
from tests.attacks.cases import ATTACKS, LINF, Case

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
        pytest.skip("an empty mask or radius raises, see test_bad_masks_raise and test_smallest.py")
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
        pytest.skip("it has no steps, or success while it runs is another than here")
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


@each_attack
def test_the_record_tells_of_the_call(case, problem):
    attack = build(case, problem.mask, steps=8)
    images, labels = problem.images, problem.labels.clone()
    labels[3] = labels[3] % 4 + 1  # the net is wrong about it
    with torch.no_grad():
        clean = problem.net(images)
    record = attack.record(problem.net, images, labels)
    given = attack.record(problem.net, images, labels, clean=clean)
    assert torch.equal(record.adversarial, attack(problem.net, images, labels))
    for one, same in zip(record, given, strict=True):
        assert torch.equal(one, same)
        assert not one.requires_grad
    assert record.stage[3] == WRONG
    with torch.no_grad():
        fooled = problem.net(record.adversarial).argmax(1) != labels
    if case.monotone:  # else an image has fallen where its views have
        assert fooled[record.stage >= 0].all()
    assert record.stage.max() < len(attack.stage_names)
    assert (record.calls >= 1).all()
    assert record.box.shape == (8, 4)
    changed = mask_boxes((record.adversarial != images).any(1, keepdim=True))
    for (top, bottom, left, right), inner in zip(record.box.tolist(), changed.tolist(), strict=True):
        if top >= 0 and inner[0] >= 0:
            assert top <= inner[0]
            assert inner[1] <= bottom
            assert left <= inner[2]
            assert inner[3] <= right


@each_attack
def test_bad_clean_logits_raise(case, problem):
    attack = build(case, problem.mask)
    for clean in (torch.zeros(7, 5), torch.full((8, 5), torch.nan), torch.zeros(8, 5).long()):
        with pytest.raises((ValueError, TypeError), match="logits: "):
            attack.record(problem.net, problem.images, problem.labels, clean=clean)


def half(net: nn.Module) -> Any:
    """The net in bfloat16, whatever it is given."""
    low = copy.deepcopy(net).bfloat16()
    return lambda x: low(x.bfloat16())


@each_attack
@pytest.mark.parametrize("how", ["autocast", "net", "images"])
def test_works_in_half_precision(case, how, problem):
    """Where the caller computes in bfloat16, where the net does, and on images of bfloat16."""
    attack = build(case, problem.mask, steps=12)
    images, net = problem.images, problem.net
    if how == "images":
        images, net = images.bfloat16(), copy.deepcopy(net).bfloat16()
    elif how == "net":
        net = half(net)
    with torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast"):
        adversarial = attack(net, images, problem.labels)
        assert torch.is_autocast_enabled("cpu") == (how == "autocast")
    assert adversarial.dtype == images.dtype
    assert adversarial.isfinite().all()
    assert not torch.equal(adversarial, images)
    if isinstance(case.budget, InBall) and how == "images":  # the result is rounded to the images' precision
        assert case.budget.ball.contains(adversarial.float(), images.float(), tolerance=2**-8).all()
    else:
        case.budget.check(adversarial, problem._replace(images=images))
    with torch.no_grad():
        lead = [margin(problem.net(x.float()), problem.labels) for x in (images, adversarial)]
    assert lead[1].mean() < lead[0].mean()


def untracked(net: nn.Module) -> Any:
    """The net's values without a graph."""

    @torch.no_grad()
    def values(x: Tensor) -> Tensor:
        return net(x)

    return values


#: Nets without a gradient in the pixels; the second has one in its parameters.
BLIND = {"no graph": untracked, "detached": lambda net: lambda x: net(x.detach())}


@each_attack
@pytest.mark.parametrize("blind", BLIND.values(), ids=BLIND)
def test_a_model_without_a_gradient_is_refused(case, blind, problem):
    attack, model = build(case, problem.mask, steps=3), blind(problem.net)
    if not case.gradient:
        wanted = attack(problem.net, problem.images, problem.labels)
        assert torch.equal(attack(model, problem.images, problem.labels), wanted)
        return
    with pytest.raises(RuntimeError, match=r"gives no gradient in the pixels.*blurnet\.adaptive"):
        attack(model, problem.images, problem.labels)


@each_attack
def test_a_gradient_of_zero_is_one(case, problem):
    """A constant model has a gradient, and nothing to climb."""
    constant = F.one_hot(problem.labels, 5).float()
    if not case.per_sample or any(
        name in repr(case.make(problem.mask)) for name in ("BestLocation", "AutoPatch", "PatchRace")
    ):
        pytest.skip("rows are not the images")

    def model(x: Tensor) -> Tensor:
        return constant.repeat(-(-len(x) // 8), 1)[: len(x)] + 0 * x.flatten(1).sum(1, keepdim=True)

    attack = build(case, problem.mask, steps=2)
    if not case.gradient or "HeldOut" in repr(attack) or getattr(attack, "target", None) is not None:
        pytest.skip("asks for no gradient, or no target is to be reached")
    assert (attack.record(model, problem.images, problem.labels).stage == STANDING).all()


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
