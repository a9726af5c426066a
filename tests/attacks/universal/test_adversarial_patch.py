"""AdversarialPatch: its gradient against a loop, what it reaches, ensembles, loaders, seeds."""

import copy
import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from blurnet.attacks.universal.adversarial_patch import AdversarialPatch
from blurnet.attacks.universal.poses import Poses, layout, place
from tests.attacks.universal.settings import ON_THE_SPOT, WIDE


def moved(net, images, labels, target=None):
    with torch.no_grad():
        answers = net(images).argmax(1)
    return float((answers != labels).float().mean() if target is None else (answers == target).float().mean())


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("target", [None, 0])
def test_a_step_is_the_gradient_of_a_loop_over_images(samples, target, problem):
    net, images = copy.deepcopy(problem.net).double().eval(), problem.images.double()
    settings = {"loss": "cross-entropy", "confidence": 1.0, "optimizer": "sgd", "lr": 0.5, "samples": samples}
    attack = AdversarialPatch(target, area=0.2, steps=1, poses=WIDE, **settings)
    patch = attack.train(net, images, problem.labels)
    assert patch.pixels.dtype == torch.float64
    gray = torch.full_like(patch.pixels, 0.5).requires_grad_()
    generator = torch.Generator().manual_seed(0)
    frame = layout(patch.mask, (16, 16), 0.2)
    poses = WIDE.draw(8 * samples, frame, generator)
    total = torch.zeros(())
    for i in range(8 * samples):
        one = type(poses)(*(part[i : i + 1] for part in poses))
        logits = net(place(images[i % 8][None], gray, patch.mask, one))
        goal = problem.labels[i % 8] if target is None else torch.tensor(target)
        total = total + (-1 if target is None else 1) * F.cross_entropy(logits, goal[None]) / (8 * samples)
    (gradient,) = torch.autograd.grad(total, [gray])
    wanted = (gray - 0.5 * gradient).clamp(0, 1)
    torch.testing.assert_close(patch.pixels, wanted.detach(), atol=1e-9, rtol=0)


def test_optimizers_step_as_named(problem):
    gray = torch.full((1,), 0.5)
    for optimizer in ("sign", "adam"):
        attack = AdversarialPatch(0, area=0.2, optimizer=optimizer, lr=0.1, steps=1, poses=ON_THE_SPOT)
        pixels = attack.train(problem.net, problem.images, problem.labels).pixels
        touched = (pixels - gray).abs()
        assert touched[touched > 1e-3].mean() == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    "settings", [{"shape": "circle"}, {"shape": "square"}, {"loss": "dlr"}, {"samples": 2}], ids=str
)
@pytest.mark.parametrize("target", [None, 0])
def test_breaks_the_undefended_net(settings, target, problem):
    attack = AdversarialPatch(target, area=0.25, steps=150, poses=Poses(where=(0.5, 0.5)), **settings)
    adversarial = attack(problem.net, problem.images, problem.labels)
    assert moved(problem.net, adversarial, problem.labels, target) >= 0.9


def test_what_is_won_has_no_part_in_a_step(problem):
    """With everything won there is nothing to follow; with confidence 1 there always is."""
    settings = {"optimizer": "sgd", "steps": 1, "check_every": 1, "poses": ON_THE_SPOT, "area": 0.25}
    for target, logits in ((0, [99.0, 0, 0, 0, 0]), (None, [99.0, 0, 0, 0, 0])):

        def net(x, logits=logits):
            return torch.tensor(logits) + x.mean((1, 2, 3))[:, None] * torch.arange(5)

        still = AdversarialPatch(target, loss="margin", **settings).train(net, problem.images, problem.labels)
        assert (still.pixels == 0.5).all()
        attack = AdversarialPatch(target, loss="margin", confidence=1, **settings)
        assert (attack.train(net, problem.images, problem.labels).pixels != 0.5).any()


def test_anywhere_beats_gray_and_random_noise(problem):
    attack = AdversarialPatch(0, area=0.25, steps=200)
    trained = attack.train(problem.net, problem.images, problem.labels)
    random = dataclasses.replace(
        trained, pixels=torch.rand(trained.pixels.shape, generator=torch.Generator().manual_seed(0))
    )
    gray = dataclasses.replace(trained, pixels=torch.full_like(trained.pixels, 0.5))
    rates = [
        sum(moved(problem.net, patch.apply(problem.images, seed=seed), problem.labels, 0) for seed in range(1, 9)) / 8
        for patch in (trained, random, gray)
    ]
    assert rates[0] > max(rates[1:]) + 0.3  # in poses it was not made for


def test_called_it_trains_on_the_batch_and_applies_by_seed(problem):
    attack = AdversarialPatch(0, steps=20, poses=WIDE, seed=3)
    patch = attack.train(problem.net, problem.images, problem.labels)
    wanted = patch.apply(problem.images, WIDE, seed=3)
    assert torch.equal(attack(problem.net, problem.images, problem.labels), wanted)
    assert patch.target == 0
    assert patch.area == 0.1
    assert patch.meta["attack"] == repr(attack)
    assert patch.meta["success"].endswith("of 8 check images")


def test_seeds_repeat_bit_for_bit(problem):
    state = torch.get_rng_state()
    for start in ("gray", "noise"):
        attack = AdversarialPatch(None, steps=5, batch=3, start=start, poses=WIDE)
        first, again = (attack.train(problem.net, problem.images, problem.labels) for _ in range(2))
        other = dataclasses.replace(attack, seed=1).train(problem.net, problem.images, problem.labels)
        assert torch.equal(first.pixels, again.pixels)
        assert not torch.equal(first.pixels, other.pixels)
    assert torch.equal(state, torch.get_rng_state())


def test_the_best_check_is_kept(problem):
    """With steps far too long the patch jumps about; the result is the best that was seen."""
    seen = []
    attack = AdversarialPatch(0, area=0.2, steps=30, lr=0.9, check_every=1, optimizer="sign")
    patch = attack.train(problem.net, problem.images, problem.labels, progress=lambda *told: seen.append(told))
    assert [told[:2] for told in seen] == [(step, 30) for step in range(31)]
    rates = [told[2] for told in seen]
    assert rates == sorted(rates)
    assert moved(problem.net, patch.apply(problem.images, seed=0), problem.labels, 0) == rates[-1]


def turned(net: nn.Module) -> nn.Module:
    """A second net, which sees the images upside down."""
    return nn.Sequential(_Flip(), net)


class _Flip(nn.Module):
    def forward(self, x):
        return x.flip(2)


@pytest.mark.parametrize("ensemble", ["cycle", "average"])
def test_an_ensemble_reaches_both_nets(ensemble, problem):
    second = turned(problem.net)
    images = (problem.images + problem.images.flip(2)) / 2  # both nets see the same
    labels = problem.net(images).argmax(1)
    keep = labels != 0
    images, labels = images[keep], labels[keep]
    attack = AdversarialPatch(0, area=0.25, steps=200, poses=ON_THE_SPOT, ensemble=ensemble)
    patch = attack.train([problem.net, second], images, labels)
    adversarial = patch.apply(images, ON_THE_SPOT)
    rates = [moved(net, adversarial, labels, 0) for net in (problem.net, second)]
    assert min(rates) >= 0.8
    assert patch.meta["models"] == "2"


def test_cycle_of_one_net_twice_is_that_net_and_average_too(problem):
    settings = {"steps": 6, "area": 0.2, "poses": WIDE}
    alone = AdversarialPatch(0, **settings).train(problem.net, problem.images, problem.labels)
    for ensemble in ("cycle", "average"):
        attack = AdversarialPatch(0, ensemble=ensemble, **settings)
        twice = attack.train((problem.net, problem.net), problem.images, problem.labels)
        torch.testing.assert_close(twice.pixels, alone.pixels, atol=1e-5, rtol=0)


def test_size_follows_the_largest_scale():
    from blurnet.attacks.universal.adversarial_patch import _mask

    for shape, side in (("square", 50), ("circle", 100 * math.sqrt(4 * 0.25 / math.pi))):
        assert _mask(AdversarialPatch(area=0.25, shape=shape), (100, 100)).shape[-1] == round(side)
    assert _mask(AdversarialPatch(area=0.25, shape="square", poses=Poses(scale=(0.5, 2))), (100, 100)).shape[-1] == 100
    assert _mask(AdversarialPatch(area=0.25, size=13), (100, 100)).shape == (1, 13, 13)


def test_an_outline_of_ones_own(problem):
    outline = torch.zeros(6, 9)
    outline[2:4] = 1
    outline[:, 3:5] = 0.5
    attack = AdversarialPatch(0, area=0.15, shape="outline", outline=outline, steps=20)
    patch = attack.train(problem.net, problem.images, problem.labels)
    assert torch.equal(patch.mask, outline[None])
    assert "outline" in repr(attack)
    assert "tensor" not in repr(attack)
    free = outline.bool()
    assert (patch.pixels[:, ~free] == 0.5).all()  # what never shows stays gray
    assert (patch.pixels[:, free] != 0.5).any()


def test_progress_bar(problem, capsys):
    AdversarialPatch(0, steps=4, check_every=2).train(problem.net, problem.images, problem.labels, progress=True)
    assert "4/4" in capsys.readouterr().err


BAD = {
    "area": {"area": 0.0},
    "samples": {"samples": 0},
    "batch": {"batch": 0},
    "check_every": {"check_every": 0},
    "size": {"size": 0},
    "confidence": {"confidence": 0.0},
    "steps": {"steps": -1},
    "lr": {"lr": math.nan},
    "shape": {"shape": "star"},
    "optimizer": {"optimizer": "lbfgs"},
    "ensemble": {"ensemble": "vote"},
    "start": {"start": "black"},
    "loss": {"loss": "hinge"},
    "outline": {"shape": "outline"},
    "outline of a circle": {"outline": torch.ones(3, 3)},
    "outline size": {"shape": "outline", "outline": torch.ones(3, 3), "size": 5},
    "outline empty": {"shape": "outline", "outline": torch.zeros(3, 3)},
    "outline NaN": {"shape": "outline", "outline": torch.full((3, 3), torch.nan)},
    "outline colour": {"shape": "outline", "outline": torch.ones(3, 3, 3)},
}


@pytest.mark.parametrize("settings", BAD.values(), ids=BAD)
def test_bad_settings_raise(settings):
    with pytest.raises(ValueError, match=f"AdversarialPatch.*{list(settings)[-1]}"):
        AdversarialPatch(0, **settings)


@pytest.mark.parametrize("target", ["second", 1.0, True])
def test_a_target_is_a_class(target):
    with pytest.raises(TypeError, match="AdversarialPatch target: expected int or None"):
        AdversarialPatch(target)


def test_bad_training_input_raises(problem):
    net, x, y, attack = problem.net, problem.images, problem.labels, AdversarialPatch(0, steps=9)
    cases = [
        (lambda: attack.train([], x, y), "none given"),
        (lambda: attack.train(net, x), "images with labels, or a loader"),
        (lambda: attack.train(net, [(x, y)], y), "images with labels, or a loader"),
        (lambda: attack.train(net, []), "gives no batch"),
        (lambda: attack.train(net, iter([(x, y)])), "used up"),
        (lambda: attack.train(net, [x]), "expected batches"),
        (lambda: attack.train(net, [(x * 255, y)]), "images: expected pixels"),
        (lambda: attack.train(net, [(x, y), (x[..., 1:], y)]), "one size"),
        (lambda: attack.train(net, [(x, y), (x, y * 0)]), "is the true class of some"),
        (lambda: attack.train(net, [(x, y + 4)]), "labels: "),
        (lambda: attack.train([net, lambda x: net(x) * torch.nan], x, y), "logits: "),
    ]
    for call, message in cases:
        with pytest.raises((ValueError, TypeError), match=message):
            call()


def test_models_are_left_as_they_were(problem):
    nets = [copy.deepcopy(problem.net).train() for _ in range(2)]
    nets[1][0].bias.requires_grad_(False)
    before = copy.deepcopy([net.state_dict() for net in nets])
    AdversarialPatch(0, steps=2).train(nets, problem.images, problem.labels)
    assert all(net.training for net in nets)
    assert [p.requires_grad for p in nets[1].parameters()][:2] == [True, False]
    for net, state in zip(nets, before, strict=True):
        assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())


def test_on_the_authors_net(authors_net, victims):
    """A tenth of the sign, at its centre, turned at random: one patch for all victims."""
    labels = torch.full((40,), 14)
    poses = Poses(where=(0.5, 0.5))
    patch = AdversarialPatch(None, steps=40, poses=poses).train(authors_net, victims, labels)
    rates = [moved(authors_net, patch.apply(victims, poses, seed=seed), labels) for seed in (1, 2)]
    assert min(rates) >= 0.9
