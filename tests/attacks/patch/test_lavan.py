"""LaVAN: target rules, early stopping, its step, its domains and places."""

import copy
from itertools import pairwise

import pytest
import torch

from blurnet.attacks.engine.losses import cross_entropy
from blurnet.attacks.engine.targets import choose_targets
from blurnet.attacks.patch.lavan import LaVAN
from blurnet.masks import Place, mask_boxes, rp2_stickers


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
    for optimizer, move in (("sign", gradient.sign()), ("gradient", gradient), ("adam", gradient.sign())):
        out = LaVAN(0, mask, steps=1, lr=0.02, optimizer=optimizer)(net, x, y)
        wanted = torch.where(mask, (start + 0.02 * move).clamp(0, 1), x)
        # Adam's first step is the sign's wherever the gradient is far above its epsilon.
        torch.testing.assert_close(out, wanted, atol=1e-5, rtol=0)


def test_adam_is_that_of_torch(problem):
    """Over several steps, on the difference of logits, with the noise projected after each."""
    net, mask = copy.deepcopy(problem.net).double(), problem.mask.bool()
    x, y = problem.images[:1].double(), problem.labels[:1]
    noise = LaVAN(0, mask, steps=0)(net, x, y).where(mask, torch.zeros(())).requires_grad_()
    adam = torch.optim.Adam([noise], lr=0.03, maximize=True)
    leads = []
    for _ in range(6):
        adam.zero_grad()
        z = net(torch.where(mask, noise, x))[0]
        (z[0] - z[y[0]]).backward()
        adam.step()
        with torch.no_grad():
            noise.clamp_(0, 1)
            leads.append(net(torch.where(mask, noise, x))[0, 0] - net(torch.where(mask, noise, x))[0, y[0]])
    assert leads == sorted(leads)  # so that the last noise is the one that is kept
    out = LaVAN(0, mask, steps=6, lr=0.03, optimizer="adam", confidence=1.0)(net, x, y)
    torch.testing.assert_close(out, torch.where(mask, noise.detach(), x))


@pytest.mark.parametrize(("optimizer", "lr"), [("sign", 0.1), ("gradient", 1.0), ("adam", 0.1)])
def test_images_that_leave_take_their_state_along(optimizer, lr, problem):
    """An image's path is its own, whoever leaves the batch before it."""
    net, images, labels = copy.deepcopy(problem.net).double(), problem.images.double(), problem.labels
    sizes: list[int] = []

    def counted(x):
        sizes.append(len(x))
        return net(x)

    attack = LaVAN(0, problem.mask, steps=40, lr=lr, optimizer=optimizer, confidence=0.6)
    together = attack(counted, images, labels)
    assert len(set(sizes)) > 2  # some left before others
    alone = [attack(net, x[None], y[None]) for x, y in zip(images, labels, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone))


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
    "settings",
    [
        {"steps": -1},
        {"lr": 0.0},
        {"lr": -1},
        {"confidence": 0},
        {"confidence": 1.1},
        {"domain": "audio"},
        {"optimizer": "lion"},
    ],
    ids=str,
)
def test_bad_settings_raise(settings, problem):
    (name,) = settings
    with pytest.raises(ValueError, match=rf"LaVAN.*{name}"):
        LaVAN(0, problem.mask, **settings)


def test_unknown_rules_raise(problem):
    with pytest.raises(ValueError, match=r"LaVAN target: expected one of .*'second'.*, got 'third'"):
        LaVAN("third", problem.mask)


def test_random_targets_are_wrong_classes_that_follow_from_the_image(problem):
    attack = LaVAN("random", torch.ones(16, 16), steps=200)
    with torch.no_grad():
        answers = problem.net(attack(problem.net, problem.images, problem.labels)).argmax(1)
        logits = problem.net(problem.images)
    assert torch.equal(answers, choose_targets("random", logits, problem.labels, images=problem.images))
    assert (answers != problem.labels).all()


def test_the_logit_difference_has_the_gradient_of_the_cross_entropies(problem):
    """The log-partition cancels, z_y - z_t = CE(t) - CE(y)."""
    net = copy.deepcopy(problem.net).double()
    x, y = problem.images.double().requires_grad_(), problem.labels
    z, goal = net(x), torch.zeros_like(y)
    logits = (z.gather(1, goal[:, None]) - z.gather(1, y[:, None])).sum()
    entropies = (cross_entropy(z, y) - cross_entropy(z, goal)).sum()
    wanted, found = (torch.autograd.grad(v, x, retain_graph=True)[0] for v in (entropies, logits))
    torch.testing.assert_close(found, wanted)


def linear(x):
    """Logits that fall and rise by known amounts with each pixel: gradient -1 a value at class 0, +1 at class 1."""
    total = x.flatten(1).sum(1)
    return torch.stack([10 - total, total - 10, total * 0 - 50], 1)


def test_two_raw_steps_by_hand():
    """z_1 - z_0 rises by 2 with each value, so a raw step of lr 0.01 adds 0.02, up to 1 and no further."""
    x, y, mask = torch.full((1, 3, 4, 4), 0.25), torch.zeros(1, dtype=torch.int64), torch.zeros(4, 4)
    mask[1:3, 2:] = 1
    start = LaVAN(1, mask, steps=0)(linear, x, y)
    for steps in (1, 2):
        for optimizer, size in (("gradient", 0.02), ("sign", 0.01), ("adam", 0.01)):
            out = LaVAN(1, mask, steps=steps, lr=0.01, optimizer=optimizer, confidence=1.0)(linear, x, y)
            torch.testing.assert_close(out, torch.where(mask.bool(), (start + steps * size).clamp(max=1), x))
    assert (out[..., 0, :] == 0.25).all()


def test_network_domain_wanders_and_returns_a_picture():
    """Values beyond 1 are seen by the net and clipped in what is judged and given back."""
    x, y, seen = torch.full((1, 3, 4, 4), 0.25), torch.zeros(1, dtype=torch.int64), []

    def model(pictures):
        seen.append(pictures.detach())
        return linear(pictures)

    out = LaVAN(1, torch.ones(4, 4), steps=12, lr=0.25, confidence=1.0, domain="network")(model, x, y)
    start = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(seen[-2][0], start + 12 * 0.25)
    assert seen[-1].max() == 1  # the same noise as a picture
    torch.testing.assert_close(out, torch.ones_like(out))


def test_network_domain_stops_by_the_clipped_picture(problem):
    attack = LaVAN(0, torch.ones(16, 16), steps=150, domain="network", confidence=0.9)
    adversarial = attack(problem.net, problem.images, problem.labels)
    assert (confidence(problem, adversarial) >= 0.9 - 1e-4).all()
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1


@pytest.mark.parametrize("where", ["border", "anywhere"])
def test_each_image_has_a_place_of_its_own(where, problem):
    place = Place(0.1, where, seed=2)
    adversarial = LaVAN(None, place, steps=2)(problem.net, problem.images, problem.labels)
    changed = mask_boxes((adversarial != problem.images).any(1, keepdim=True))
    assert torch.equal(changed, place.boxes(problem.images))
    assert len(changed.unique(dim=0)) > 2
    assert "Place(area=0.1" in repr(LaVAN(None, place))


def test_on_the_authors_net(authors_net, victims):
    """Free noise under the stickers, each victim for itself, reaches most of the first ten."""
    x, y = victims[:10], torch.full((10,), 14)
    adversarial = LaVAN(12, rp2_stickers(), steps=60)(authors_net, x, y)
    with torch.no_grad():
        assert (authors_net(adversarial).argmax(1) == 12).sum() >= 8
