"""Adversarial objectives against hand-computed losses, and what they reach."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blurnet.training.callbacks import robust_share
from blurnet.training.objectives.adversarial import TRADES, FastTraining, FGSMTraining, PGDTraining, divergence
from blurnet.training.objectives.base import Natural, Objective
from blurnet.training.objectives.inner import target_classes, uniform_start
from blurnet.training.objectives.table import ObjectiveSpec, make_objective
from tests.training.objectives.by_hand import RADIUS, STEP, away, bare_ascent, numbers, value_of


def test_fgsm_mixture(net, batch):
    images, labels = batch
    loss = value_of(FGSMTraining(clean=0.3, radius=RADIUS), net, batch)
    moved = bare_ascent(net, images, images, 1, RADIUS, away(labels))
    wanted = 0.3 * F.cross_entropy(net(images), labels) + 0.7 * F.cross_entropy(net(moved), labels)
    torch.testing.assert_close(loss, wanted)


def test_pgd(net, batch):
    images, labels = batch
    objective = PGDTraining(radius=RADIUS, steps=4, step_size=STEP, label_smoothing=0.1)
    start = uniform_start(images, RADIUS, numbers())
    moved = bare_ascent(net.eval(), images, start, 4, STEP, away(labels))
    wanted = F.cross_entropy(net(moved), labels, label_smoothing=0.1)
    torch.testing.assert_close(value_of(objective, net, batch), wanted)
    assert wanted > value_of(Natural(label_smoothing=0.1), net, batch)


def test_targeted_pgd_goes_towards_wrong_classes(net, batch):
    images, labels = batch
    objective = PGDTraining(radius=RADIUS, steps=4, step_size=STEP, target="random", clean_start=1.0)
    moved = objective.adversarial(net.eval(), images, labels, numbers())
    targets = target_classes("random", net, images, labels, numbers())
    wanted = bare_ascent(net, images, images, 4, STEP, lambda logits: -away(targets)(logits))
    torch.testing.assert_close(moved, wanted)


def test_adversarial_logit_pairing(net, batch):
    images, labels = batch
    settings: dict[str, Any] = {"radius": RADIUS, "steps": 2, "step_size": STEP, "clean": 0.5}
    moved = PGDTraining(**settings).adversarial(net.eval(), images, labels, numbers())
    logits, others = net(images), net(moved)
    mixed = (F.cross_entropy(logits, labels) + F.cross_entropy(others, labels)) / 2
    torch.testing.assert_close(value_of(PGDTraining(**settings), net, batch), mixed)
    paired = mixed + 0.25 * sum((a - b).norm() ** 2 for a, b in zip(logits, others, strict=True)) / 7
    torch.testing.assert_close(value_of(PGDTraining(**settings, pairing=0.25), net, batch), paired)


def test_fast(net, batch):
    images, labels = batch
    start = uniform_start(images, RADIUS, numbers())
    moved = bare_ascent(net.eval(), images, start, 1, 1.25 * RADIUS, away(labels))
    torch.testing.assert_close(value_of(FastTraining(radius=RADIUS), net, batch), F.cross_entropy(net(moved), labels))


def test_trades(net, batch):
    images, labels = batch
    objective = TRADES(beta=3.0, radius=RADIUS, steps=3, step_size=STEP)
    clean = net.eval()(images).detach()

    def kl(logits: Tensor, others: Tensor) -> Tensor:
        p, q = logits.softmax(1), others.softmax(1)
        return (p * (p / q).log()).sum()

    start = images + torch.empty_like(images).normal_(0, 0.001, generator=numbers())
    moved = bare_ascent(net, images, start.clamp(0, 1), 3, STEP, lambda logits: kl(clean, logits))
    wanted = F.cross_entropy(net(images), labels) + 3 * kl(net(images), net(moved)) / 7
    torch.testing.assert_close(value_of(objective, net, batch), wanted)


def test_divergence_is_not_negative(generator):
    p, q = torch.randn(2, 50, 6, generator=generator)
    assert divergence(p, q) > 0
    torch.testing.assert_close(divergence(p, p + 3), torch.tensor(0.0))
    assert all(divergence(p[i : i + 1], q[i : i + 1]) > 0 for i in range(50))


def two_features(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A half of the image that is brighter, in nine images of ten the right one; and faint stripes that never lie."""
    labels = torch.randint(2, (n,), generator=generator)
    sign = (2 * labels - 1).float()
    right = torch.where(torch.rand(n, generator=generator) < 0.9, sign, -sign)
    images = 0.5 + 0.02 * torch.randn(n, 3, 8, 8, generator=generator)
    halves = torch.tensor([1.0, -1.0]).repeat_interleave(4)
    stripes = torch.tensor([1.0, -1.0]).repeat(4)[:, None]
    images += 0.1 * right[:, None, None, None] * halves + 0.03 * sign[:, None, None, None] * stripes
    return images.clamp(0, 1), labels


def trained(objective: Objective, batches: list[tuple[Tensor, Tensor]]) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    adam, generator = torch.optim.Adam(net.parameters(), 0.02), numbers()
    for images, labels in batches:
        adam.zero_grad()
        objective.loss(net, images, labels, generator)[0].backward()
        adam.step()
    return net


@pytest.mark.parametrize("name", ["pgd", "trades", "alp", "fast"])
def test_training_improves_robustness(name, generator):
    radius = 0.06
    batches = [two_features(64, generator) for _ in range(80)]
    images, labels = two_features(500, generator)
    objective = make_objective(ObjectiveSpec(name, {"radius": radius}))
    natural, robust = (trained(o, batches) for o in (Natural(), objective))
    before, after = (float(robust_share(n, images, labels, radius=radius, steps=20)) for n in (natural, robust))
    assert before < 0.6
    assert after > 0.8
    assert (natural(images).argmax(1) == labels).float().mean() > 0.92
