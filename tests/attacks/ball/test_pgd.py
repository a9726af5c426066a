"""FGSM and PGD: the step, momentum, early stop, best-so-far, restarts, looks."""

import copy
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.attacks.ball.pgd import FGSM, PGD
from blurnet.attacks.engine.losses import objective
from blurnet.attacks.engine.views import Brightness, Noise, Rotation
from blurnet.balls import Ball

BALLS = [Ball("linf", 0.03), Ball("l2", 0.5), Ball("l1", 4.0)]
each_ball = pytest.mark.parametrize("ball", BALLS, ids=lambda b: b.norm)
WEAK = Ball("linf", 0.03)  #: breaks some of the problem's images and leaves some


class Seen:
    """A model that notes the batches it sees."""

    def __init__(self, net):
        self.net, self.sizes = net, []

    def __call__(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        return self.net(x)


def double(problem):
    return copy.deepcopy(problem.net).double(), problem.images.double(), problem.labels


def answers(problem, adversarial):
    with torch.no_grad():
        return problem.net(adversarial).argmax(1)


def gradient_of(net, x, y, loss, targets=None):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(objective(loss, net(x), y, targets).sum(), x)[0]


@each_ball
@pytest.mark.parametrize("loss", ["cross-entropy", "margin", "dlr"])
@pytest.mark.parametrize("target", [None, 0])
def test_one_step_is_the_steepest_step_of_the_gradient(ball, loss, target, problem):
    """In double precision; gradients by differences along the step."""
    net, x, y = double(problem)
    targets = None if target is None else torch.full_like(y, target)
    gradient = gradient_of(net, x, y, loss, targets)
    along = F.normalize(gradient.flatten(1), dim=1).view_as(x)
    with torch.no_grad():
        up, down = (objective(loss, net(x + s * 1e-6 * along), y, targets) for s in (1, -1))
    torch.testing.assert_close((up - down) / 2e-6, gradient.flatten(1).norm(dim=1), rtol=1e-4, atol=1e-6)
    out = PGD(ball, 1, 0.5 * ball.radius, loss=loss, target=target, random_start=False, stop=False)(net, x, y)
    wanted = ball.project(x + ball.step(gradient, 0.5 * ball.radius, x), x)
    with torch.no_grad():
        rises = objective(loss, net(wanted), y, targets) > objective(loss, net(x), y, targets)
    assert rises.any()
    torch.testing.assert_close(out[rises], wanted[rises])
    assert torch.equal(out[~rises], x[~rises])  # the best point is kept: here the image


@each_ball
@pytest.mark.parametrize("target", [None, 0, "second", "least-likely", "random"])
def test_fgsm_is_one_step_of_pgd(ball, target, problem):
    fgsm = FGSM(ball, "margin", target, seed=3)(problem.net, problem.images, problem.labels)
    pgd = PGD(ball, 1, ball.radius, loss="margin", target=target, random_start=False, seed=3)
    assert torch.equal(fgsm, pgd(problem.net, problem.images, problem.labels))
    assert not torch.equal(fgsm, problem.images)


def test_fgsm_by_hand(problem):
    x, y = problem.images, problem.labels
    out = FGSM(Ball("linf", 0.02))(problem.net, x, y)
    wanted = (x + 0.02 * gradient_of(problem.net, x, y, "cross-entropy").sign()).clamp(0, 1)
    torch.testing.assert_close(out, wanted)


@each_ball
@pytest.mark.parametrize("momentum", [0.0, 0.75])
def test_steps_follow_the_formula(ball, momentum, problem):
    """A plain loop in double precision, one image at a time: g <- mu g + grad / mean |grad|."""
    net, x, y = double(problem)
    steps, size = 5, 0.5 * ball.radius
    out = PGD(ball, steps, size, momentum, loss="margin", stop=False, seed=2)(net, x, y)
    for i in range(len(x)):
        home, label, velocity = x[i : i + 1], y[i : i + 1], torch.zeros_like(x[:1])
        at = ball.start(home, torch.Generator().manual_seed(2))
        best, score = at, -math.inf
        for step in range(steps + 1):
            with torch.no_grad():
                value = float(objective("margin", net(at), label))
            if value > score:
                best, score = at, value
            if step < steps:
                gradient = gradient_of(net, at, label, "margin")
                velocity = momentum * velocity + gradient / gradient.abs().mean()
                at = ball.project(at + ball.step(velocity, size, at), home)
        torch.testing.assert_close(out[i : i + 1], best)


def test_the_step_size_is_a_share_of_the_radius(problem):
    """2.5 radius / steps: from the image itself, ten steps of one sign can reach the edge two and a half times."""
    ball = Ball("linf", 0.04)
    out = PGD(ball, 10, random_start=False, stop=False)(problem.net, problem.images, problem.labels)
    same = PGD(ball, 10, 0.01, random_start=False, stop=False)(problem.net, problem.images, problem.labels)
    torch.testing.assert_close(out, same, atol=1e-5, rtol=0)


def test_broken_images_leave_the_batch(problem):
    model = Seen(problem.net)
    out = PGD(WEAK, 20)(model, problem.images, problem.labels)
    first, sizes = model.sizes[0], model.sizes[1:]
    assert first == 8
    assert sizes == sorted(sizes, reverse=True)
    won = answers(problem, out) != problem.labels
    assert 0 < won.sum() < 8  # the case tests both
    assert sizes[-1] == int((~won).sum())
    assert len(sizes) == 21


def test_no_image_left_ends_the_attack(problem):
    model = Seen(problem.net)
    PGD(Ball("linf", 0.5), 100)(model, problem.images, problem.labels)
    assert len(model.sizes) < 30


def test_without_stop_the_batch_is_whole(problem):
    model = Seen(problem.net)
    PGD(Ball("linf", 0.5), 6, stop=False)(model, problem.images, problem.labels)
    assert model.sizes == [8] * 8  # the clean logits, 6 steps, the last point


def test_stopping_loses_no_success(problem):
    for target in (None, 0):
        results = []
        for stop in (True, False):
            out = PGD(WEAK, 20, target=target, stop=stop)(problem.net, problem.images, problem.labels)
            result = answers(problem, out)
            results.append(result != problem.labels if target is None else result == target)
        assert torch.equal(*results)


@pytest.mark.parametrize("stop", [False, True])
def test_the_best_step_is_kept(stop, problem):
    """With steps far too long the points jump about; the result never falls behind."""
    values = []
    for steps in (0, 1, 2, 4, 8, 16):
        out = PGD(WEAK, steps, 0.2, loss="margin", stop=stop)(problem.net, problem.images, problem.labels)
        with torch.no_grad():
            values.append(objective("margin", problem.net(out), problem.labels))
    for before, after in itertools.pairwise(values):
        assert (after >= before - 1e-5).all()


def test_success_counts_before_loss(problem):
    """By cross-entropy alone a point short of the target could beat one that reached it."""
    for steps in (3, 10, 30):
        out = PGD(WEAK, steps, 0.05, target=0, stop=False)(problem.net, problem.images, problem.labels)
        stopped = PGD(WEAK, steps, 0.05, target=0, stop=True)(problem.net, problem.images, problem.labels)
        reached = answers(problem, stopped) == 0
        assert (answers(problem, out)[reached] == 0).all()


@pytest.mark.parametrize("stop", [False, True])
def test_restarts_are_those_of_one_after_the_other(stop, problem):
    """Side by side in a batch, alone one after the other: the same images, whoever else stands."""
    net, x, y = double(problem)
    attack = PGD(WEAK, 4, restarts=6, stop=stop, seed=1)
    model = Seen(net)
    together = attack(model, x, y)
    assert max(model.sizes) <= len(x)  # never more rows than the caller's batch
    alone = torch.cat([attack(net, a[None], b[None]) for a, b in zip(x, y, strict=True)])
    torch.testing.assert_close(together, alone)
    if stop:
        assert len(model.sizes) < 6 * 5  # later restarts ran side by side


def test_more_restarts_are_not_weaker(problem):
    for stop in (False, True):
        counts = []
        for restarts in (1, 2, 5, 9):
            out = PGD(WEAK, 2, restarts=restarts, stop=stop)(problem.net, problem.images, problem.labels)
            counts.append(answers(problem, out) != problem.labels)
        for before, after in itertools.pairwise(counts):
            assert not (before & ~after).any()


def test_an_image_that_is_wrong_already_stays(problem):
    wrong = (problem.labels + 1) % 5
    model = Seen(problem.net)
    out = PGD(WEAK, 10, random_start=False)(model, problem.images, wrong)
    assert torch.equal(out, problem.images)
    assert model.sizes == [8, 8]


def test_looks_without_moves_change_nothing(problem):
    net, x, y = double(problem)
    model = Seen(net)
    one = PGD(WEAK, 3, stop=False)(net, x, y)
    three = PGD(WEAK, 3, stop=False, eot_samples=3)(model, x, y)
    torch.testing.assert_close(one, three)
    assert model.sizes == [8] + [24] * 4


def test_looks_climb_the_mean_of_the_losses(problem):
    """The first step with transformations against a loop over looks; every image sees the same draws."""
    net, x, y = double(problem)
    moves, looks = (Rotation(8), Brightness(0.8, 1.2), Noise(0.02)), torch.Generator().manual_seed(7 + 1)
    attack = PGD(WEAK, 1, 0.02, random_start=False, stop=False, eot_samples=4, transformations=moves, seed=7)
    point = x.clone().requires_grad_()
    seen = point.reshape(1, 24, 16, 16).expand(4, -1, -1, -1)
    for move in moves:
        seen = move(seen, looks)
    losses = [F.cross_entropy(net(look.clamp(0, 1).view_as(x)), y, reduction="none") for look in seen]
    (gradient,) = torch.autograd.grad(torch.stack(losses).mean(0).sum(), point)
    wanted = (x + 0.02 * gradient.sign()).clamp(0, 1)
    out = attack(net, x, y)
    moved = (out != x).flatten(1).any(1)
    assert moved.any()
    torch.testing.assert_close(out[moved], wanted[moved])


def test_a_random_model_is_averaged(problem):
    """Noise as strong as the signal: one look a step wanders, many find the way."""
    generator = torch.Generator()

    def noisy(x: Tensor) -> Tensor:
        return problem.net((x + 0.5 * torch.randn(x.shape, generator=generator)).clamp(0, 1))

    gains = []
    for looks in (1, 32):
        generator.manual_seed(0)
        out = PGD(WEAK, 5, 0.02, random_start=False, stop=False, eot_samples=looks)(
            noisy, problem.images, problem.labels
        )
        with torch.no_grad():
            gains.append(float(objective("margin", problem.net(out), problem.labels).mean()))
    assert gains[1] > gains[0]


def test_answers_of_nan_are_never_chosen(problem):
    def breaks_down(x: Tensor) -> Tensor:
        return torch.where(x.flatten(1).amax(1, keepdim=True) > 0.97, torch.nan, problem.net(x))

    assert problem.images.max() < 0.95
    out = PGD(Ball("linf", 0.5), 10, stop=False)(breaks_down, problem.images * 0.9, problem.labels)
    assert out.isfinite().all()


def test_channels_last_images(problem):
    x = problem.images.contiguous(memory_format=torch.channels_last)
    for ball in BALLS:
        attack = PGD(ball, 3)
        wanted = attack(problem.net, problem.images, problem.labels)
        torch.testing.assert_close(attack(problem.net, x, problem.labels), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": -1},
        {"step_size": 0.0},
        {"momentum": 1.5},
        {"restarts": 0},
        {"eot_samples": 0},
        {"restarts": 2, "random_start": False},
        {"loss": "hinge"},
        {"target": "third"},
    ],
    ids=str,
)
def test_bad_settings_raise(settings):
    with pytest.raises(ValueError, match=f"PGD.*{next(iter(settings))}"):
        PGD(WEAK, **settings)


def test_a_number_is_no_ball():
    for attack in (PGD, FGSM):
        with pytest.raises(TypeError, match=rf"{attack.__name__} ball: expected Ball, got 0\.03"):
            attack(0.03)
    with pytest.raises(ValueError, match="FGSM loss: expected one of"):
        FGSM(WEAK, loss="hinge")


def test_repr_is_the_line_of_a_report():
    line = "FGSM(ball=Ball(norm='linf', radius=0.03), loss='cross-entropy', target=None, seed=0)"
    assert repr(FGSM(WEAK)) == line
    assert repr(PGD(WEAK)).startswith("PGD(ball=Ball(norm='linf', radius=0.03), steps=40, step_size=None, momentum=0.0")
