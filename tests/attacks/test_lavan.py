"""LaVAN: target rules, early stopping, its step."""

import copy
from itertools import pairwise

import pytest
import torch

from blurnet.attacks.lavan import LaVAN
from blurnet.masks import rp2_stickers


def confidence(problem, adversarial, target=0):
    with torch.no_grad():
        return problem.net(adversarial).softmax(1)[:, target]


def test_target_rules_are_those_of_the_clean_image(problem):
    with torch.no_grad():
        order = problem.net(problem.images).argsort(dim=1, descending=True)
    assert torch.equal(order[:, 0], problem.labels)
    for rule, goals in (("second", order[:, 1]), ("least-likely", order[:, -1])):
        together = LaVAN(rule, problem.mask, steps=5)(problem.net, problem.images, problem.labels)
        for x, y, goal, wanted in zip(problem.images, problem.labels, goals, together, strict=True):
            one = LaVAN(int(goal), problem.mask, steps=5)(problem.net, x[None], y[None])
            torch.testing.assert_close(one[0], wanted, atol=1e-4, rtol=0)


def test_the_label_is_never_the_least_likely(problem):
    """A net that is wrong about an image may give its label the lowest logit."""
    labels = torch.zeros_like(problem.labels)
    with torch.no_grad():
        labels[:] = problem.net(problem.images).argmin(dim=1)
    adversarial = LaVAN("least-likely", problem.mask, steps=3)(problem.net, problem.images, labels)
    assert adversarial.isfinite().all()


def test_finished_images_leave_the_batch(problem):
    sizes: list[int] = []

    def counted(x):
        sizes.append(len(x))
        return problem.net(x)

    attack = LaVAN(0, torch.ones(16, 16), steps=200, confidence=0.99)
    adversarial = attack(counted, problem.images, problem.labels)
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) < 200
    assert (confidence(problem, adversarial) >= 0.99 - 1e-4).all()


def test_one_step_is_the_sign_of_the_logit_difference(problem):
    net, mask = copy.deepcopy(problem.net).double(), problem.mask.bool()
    x, y = problem.images[:1].double(), problem.labels[:1]
    start = LaVAN(0, mask, steps=0)(net, x, y)
    noise = start.clone().requires_grad_()
    z = net(torch.where(mask, noise, x))[0]
    (gradient,) = torch.autograd.grad(z[0] - z[y[0]], noise)
    for sign, move in ((True, gradient.sign()), (False, gradient)):
        out = LaVAN(0, mask, steps=1, lr=0.02, sign=sign)(net, x, y)
        wanted = torch.where(mask, (start + 0.02 * move).clamp(0, 1), x)
        torch.testing.assert_close(out, wanted)


def test_the_best_step_is_kept(problem):
    """With steps far too long the noise jumps about; the result never falls behind."""
    leads = []
    for steps in (0, 1, 2, 4, 8, 16):
        attack = LaVAN(0, problem.mask, steps=steps, lr=0.9, confidence=1.0)
        with torch.no_grad():
            z = problem.net(attack(problem.net, problem.images, problem.labels))
        leads.append(z[:, 0] - z[:, 1:].amax(dim=1))
    for before, after in pairwise(leads):
        assert (after >= before - 1e-4).all()


def test_each_image_may_have_its_own_place(problem):
    masks = torch.zeros(8, 1, 16, 16)
    for i in range(8):
        masks[i, 0, i : i + 6, 2 : 10 + i % 3] = 1
    adversarial = LaVAN(0, masks, steps=10)(problem.net, problem.images, problem.labels)
    changed = (adversarial != problem.images).any(dim=1, keepdim=True)
    assert not (changed & (masks == 0)).any()
    assert (changed.flatten(1).sum(1) > 20).all()


@pytest.mark.parametrize(
    "settings", [{"steps": -1}, {"lr": 0.0}, {"lr": -1}, {"confidence": 0}, {"confidence": 1.1}], ids=str
)
def test_bad_settings_raise(settings, problem):
    (name,) = settings
    with pytest.raises(ValueError, match=rf"LaVAN.*{name}"):
        LaVAN(0, problem.mask, **settings)


def test_unknown_rules_raise(problem):
    with pytest.raises(ValueError, match="expected a class, 'second', 'least-likely' or None, got 'random'"):
        LaVAN("random", problem.mask)


def test_on_the_authors_net(authors_net, victims):
    """Free noise under the stickers, each victim for itself, reaches most of the first ten."""
    x, y = victims[:10], torch.full((10,), 14)
    adversarial = LaVAN(12, rp2_stickers(), steps=60)(authors_net, x, y)
    with torch.no_grad():
        assert (authors_net(adversarial).argmax(1) == 12).sum() >= 8
