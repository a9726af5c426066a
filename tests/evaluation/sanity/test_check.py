"""Planted gradient masking raises its flag; an honest net raises none."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blurnet.attacks.ball.pgd import PGD
from blurnet.attacks.wrappers.model import EOT
from blurnet.balls import Ball
from blurnet.bpda import bpda
from blurnet.data.sources.victims import load_victims
from blurnet.evaluation.sanity import attack_checks, model_checks
from blurnet.evaluation.sanity.check import CHECKS, check
from blurnet.evaluation.sanity.flags import Flag, at_least, unlikely
from blurnet.evaluation.sanity.subject import Subject
from blurnet.masks import Place
from blurnet.modes import attacking
from blurnet.zoo.models import list_models, load_model

BALL, STEPS = Ball("linf", 0.03), 10
THREATS = {"ball": {"ball": BALL}, "patch": {"mask": Place(0.1, "anywhere")}}
each_threat = pytest.mark.parametrize("threat", THREATS.values(), ids=THREATS)


@pytest.fixture(scope="module")
def honest() -> tuple[nn.Module, Tensor, Tensor]:
    """A small net, trained on noisy templates, with 16 images that it answers correctly."""
    generator = torch.Generator().manual_seed(0)
    templates = F.interpolate(torch.rand(5, 3, 4, 4, generator=generator), 16)

    def draw(labels: Tensor) -> Tensor:
        noise = torch.rand(len(labels), 3, 16, 16, generator=generator)
        return 0.25 + 0.2 * templates[labels] + 0.3 * noise

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5))
        adam = torch.optim.Adam(net.parameters(), lr=0.01)
        for _ in range(60):
            labels = torch.randint(5, (32,), generator=generator)
            adam.zero_grad()
            F.cross_entropy(net(draw(labels)), labels).backward()
            adam.step()
    labels = torch.arange(16) % 5
    images = draw(labels)
    with torch.no_grad():
        assert torch.equal(net.eval()(images).argmax(1), labels)
    return net, images, labels


class Defended(nn.Module):
    """A net behind a function of (net, images)."""

    def __init__(self, net: nn.Module, function: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.function = net, function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.net, x)


def quantised(net, x):
    return net((x * 16).round() / 16)


def saturated(net, x):
    return net(x) * 1000


def noisy(net, x):
    return net(x + 0.05 * torch.randn(x.shape, generator=NOISE))


def softmax(net, x):
    return net(x).softmax(1)


def _purified(x: Tensor) -> Tensor:
    with torch.enable_grad():
        clean = x.detach().clone().requires_grad_()
        for _ in range(2):
            (gradient,) = torch.autograd.grad((clean - x.detach()).square().mean() + clean.diff().abs().mean(), [clean])
            clean = (clean - 0.1 * gradient).detach().requires_grad_()
    return bpda(clean, x)


def purified(net, x):
    return net(_purified(x))


def purified_by_optimizer(net, x):
    with torch.enable_grad():
        clean = x.detach().clone().requires_grad_()
        (clean - 0.5).square().sum().backward()
        torch.optim.SGD([clean], lr=1e-3).step()
    return net(bpda(clean, x))


def trained_inside(net, x):
    with torch.no_grad():
        net[0].bias.mul_(1 + 1e-6)
    return net(x)


def shuffled(net, x):
    order = torch.randperm(x[0].numel(), generator=torch.Generator().manual_seed(0))
    return net(bpda(x, x.flatten(1)[:, order].view_as(x)))


def reversed_gradient(net, x):
    return net(bpda(x, -x))


def detached(net, x):
    return net(x.detach())


class _Refuse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("no gradient of its own")


def refusing(net, x):
    return net(_Refuse.apply(x))


NOISE = torch.Generator()
PLANTED = {
    quantised: {"zero-gradient", "noise-beats-gradient", "black-box-beats-gradient", "steps-do-not-help"},
    saturated: {"vanishing-gradient"},
    noisy: {"random-model"},
    softmax: {"probabilities"},
    purified: {"optimises-inside"},
    purified_by_optimizer: {"optimises-inside"},
    trained_inside: {"optimises-inside"},
    shuffled: {"black-box-beats-gradient"},
    reversed_gradient: {"noise-beats-gradient", "black-box-beats-gradient", "steps-do-not-help"},
    detached: {"zero-gradient", "budget-does-not-help", "unbounded-falls-short"},
    refusing: {"zero-gradient"},
}
#: Masking that leaves the gradient's direction alone raises its own flag and no other.
ALONE = (saturated, noisy, softmax, purified, purified_by_optimizer, trained_inside)


@each_threat
@pytest.mark.parametrize("defense", PLANTED, ids=lambda f: f.__name__)
def test_planted_masking_raises_its_flag(defense, threat, honest):
    net, images, labels = honest
    NOISE.manual_seed(0)
    flags = check(Defended(net, defense), images, labels, steps=STEPS, **threat)
    names = {flag.name for flag in flags}
    assert names >= PLANTED[defense], names
    assert defense not in ALONE or names == PLANTED[defense]


@each_threat
def test_an_honest_net_raises_none(threat, honest):
    net, images, labels = honest
    state, before = torch.get_rng_state(), [p.requires_grad for p in net.parameters()]
    assert check(net, images, labels, source=net, steps=STEPS, **threat) == ()
    assert check(lambda x: net(x), images, labels, steps=STEPS, **threat) == ()  # any callable is a model
    assert torch.equal(state, torch.get_rng_state())
    assert [p.requires_grad for p in net.parameters()] == before


def test_transfer_is_stronger_where_the_gradient_is_hidden(honest):
    net, images, labels = honest
    subject = made(Defended(net, quantised), images, labels, source=net)
    flag = attack_checks.transfer_beats_gradient(subject)
    assert flag.name == "transfer-beats-gradient"
    assert flag.evidence["against"] >= 13
    assert attack_checks.transfer_beats_gradient(made(net, images, labels)) is None


def test_one_step_is_stronger_where_steps_are_misled(honest):
    """A gradient that is right at the clean images only."""
    net, images, labels = honest

    def misled(inner, x):
        same = (x.detach()[:, None] == images[None]).flatten(2).all(2).any(1).view(-1, 1, 1, 1)
        return inner(bpda(x, torch.where(same, x, -x)))

    subject = made(Defended(net, misled), images, labels)
    assert attack_checks.single_step_beats_iterative(subject).name == "single-step-beats-iterative"


def test_a_mean_of_passes_is_checked_in_place_of_a_random_model(honest):
    net, images, labels = honest
    model = Defended(net, noisy)
    subject = made(model, images, labels)
    assert subject.spread > 1e-3
    assert subject.mean is not model
    assert attack_checks.black_box_beats_gradient(subject) is None
    assert model_checks.random_model(made(EOT(PGD(BALL), 4).seen(net), images, labels)) is None


def made(model, images, labels, **settings) -> Subject:
    with attacking(model):
        return Subject.of(model, images, labels, **{"ball": BALL, "steps": STEPS, **settings})


def test_only_correctly_answered_images_count(honest):
    net, images, labels = honest
    wrong = labels.clone()
    wrong[:12] = (labels[:12] + 1) % 5
    assert made(net, images, wrong).n == 4
    assert made(net, images.repeat(3, 1, 1, 1), labels.repeat(3)).n == 32
    with pytest.raises(ValueError, match="answers none of the 16 images correctly"):
        check(net, images, (labels + 1) % 5)


def test_bad_input_raises(honest):
    net, images, labels = honest
    with pytest.raises(ValueError, match="sanity steps: expected at least 4, got 3"):
        check(net, images, labels, steps=3)
    with pytest.raises(ValueError, match="sanity mask: expected one of"):
        check(net, images, labels, mask=torch.ones(3, 3))
    with pytest.raises(ValueError, match="images: expected pixels"):
        check(net, images * 255, labels)


def test_flags_name_their_check_and_are_plain_data(honest):
    net, images, labels = honest
    flags = check(Defended(net, detached), images, labels, steps=STEPS, mask=Place(0.1))
    order = list(CHECKS)
    assert [order.index(flag.name) for flag in flags] == sorted(order.index(flag.name) for flag in flags)
    for flag in flags:
        plain = dataclasses.asdict(flag)
        assert set(plain) == {"name", "cause", "cure", "evidence"}
        assert all(isinstance(v, int | float | str | list) for v in plain["evidence"].values())
        assert plain["cause"].endswith(".")
        assert plain["cure"].endswith(".")
    assert "does not require grad" in flags[0].evidence["error"]


def test_chance():
    """10 of 32 is rarer than once in a thousand at one in ten; 9 is not."""
    assert unlikely(10, 32)
    assert not unlikely(9, 32)
    assert [at_least(n) for n in (1, 8, 16, 32)] == [2, 5, 7, 10]
    assert not unlikely(0, 5)
    assert Flag("a", "b", "c", {}) == Flag("a", "b", "c", {})


@pytest.mark.slow
@each_threat
@pytest.mark.parametrize("name", list_models())
def test_shipped_nets_are_honest(name, threat):
    """No flag but those that the card states: LGS in front hides the gradient, and its card says so."""
    victims, net = load_victims("synthetic", 32), load_model(name)
    settings = threat if "mask" in threat else {}
    flags = check(net, victims.images, victims.labels, source=load_model("lisa_cnn"), **settings)
    assert {flag.name for flag in flags} <= set(net.card.flags or ())
    assert not net.card.flags or name == "lisa_cnn-lgs"
