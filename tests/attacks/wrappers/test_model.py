"""Attacks around attacks: transfer, expectation, another gradient."""

import copy

import pytest
import torch
from torch import nn

from blurnet.attacks.ball.pgd import PGD
from blurnet.attacks.base import Attack
from blurnet.attacks.engine.losses import margin
from blurnet.attacks.patch.lavan import LaVAN
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.attacks.wrappers.model import BPDA, EOT, Transfer
from blurnet.balls import Ball

BALL = Ball("linf", 0.1)


def lead(net, images, labels):
    with torch.no_grad():
        return -margin(net(images), labels)


class Shaken(nn.Module):
    """A net behind noise: one draw a call, or one for each row."""

    def __init__(self, net: nn.Module, size: float = 0.3, *, rowwise: bool = False) -> None:
        super().__init__()
        self.net, self.size, self.rowwise = net, size, rowwise
        self.generator, self.calls = torch.Generator().manual_seed(0), 0

    def forward(self, x):
        self.calls += 1
        shape = x.shape if self.rowwise else (1, *x.shape[1:])
        return self.net(x + self.size * torch.randn(shape, generator=self.generator).to(x))


def test_transfer_is_the_attack_on_the_source(problem):
    source = copy.deepcopy(problem.net)
    with torch.no_grad():
        source[5].weight.mul_(1 + 0.3 * torch.randn(source[5].weight.shape, generator=torch.Generator().manual_seed(1)))
    attack = PGD(BALL, steps=10, stop=False)
    made = attack(source, problem.images, problem.labels)
    adversarial = Transfer(attack, source)(problem.net, problem.images, problem.labels)
    before = lead(problem.net, problem.images, problem.labels)
    helps = lead(problem.net, made, problem.labels) > before
    assert helps.any()
    assert torch.equal(adversarial, torch.where(helps.view(-1, 1, 1, 1), made, problem.images))
    assert (lead(problem.net, adversarial, problem.labels) >= before).all()
    # The model itself as source: nothing is lost on the way.
    same = Transfer(attack, problem.net)(problem.net, problem.images, problem.labels)
    assert torch.equal(same, attack(problem.net, problem.images, problem.labels))


def test_transfer_asks_the_model_for_values_only(problem):
    def model(x):
        assert not torch.is_grad_enabled()
        return problem.net(x)

    Transfer(PGD(BALL, steps=3), problem.net)(model, problem.images, problem.labels)


def test_the_sources_parameters_and_mode_are_restored(problem):
    for wrap in (Transfer, BPDA):
        source = copy.deepcopy(problem.net).train()
        wrap(PGD(BALL, steps=2), source)(problem.net, problem.images, problem.labels)
        assert source.training
        assert all(p.requires_grad and p.grad is None for p in source.parameters())


def test_one_sample_is_the_plain_attack(problem):
    attack = LaVAN(0, problem.mask, steps=5)
    plain = attack(problem.net, problem.images, problem.labels)
    assert torch.equal(EOT(attack, 1)(problem.net, problem.images, problem.labels), plain)


@pytest.mark.parametrize("batched", [False, True])
def test_many_samples_of_a_fixed_model_are_the_plain_attack(batched, problem):
    net, x = copy.deepcopy(problem.net).double(), problem.images.double()
    attack = PGD(BALL, steps=5, stop=False)
    torch.testing.assert_close(EOT(attack, 3, batched=batched)(net, x, problem.labels), attack(net, x, problem.labels))


@pytest.mark.parametrize("batched", [False, True])
def test_the_mean_has_the_mean_gradient_of_fresh_draws(batched, problem):
    plain, x = copy.deepcopy(problem.net).double(), problem.images[:3].double().requires_grad_()
    seen = EOT(PGD(BALL), 4, batched=batched).seen(Shaken(plain, rowwise=batched))(x)
    net = Shaken(plain, rowwise=batched)
    logits = net(x.repeat(4, 1, 1, 1)).view(4, 3, -1) if batched else [net(x) for _ in range(4)]
    torch.testing.assert_close(seen, sum(logits) / 4)
    assert not torch.allclose(logits[0], logits[1])
    wanted = sum(torch.autograd.grad(z[:, 0].sum(), x, retain_graph=True)[0] for z in logits) / 4
    torch.testing.assert_close(torch.autograd.grad(seen[:, 0].sum(), x)[0], wanted)


def test_mean_logits_are_mean_log_probabilities_to_every_loss(problem):
    logits = torch.randn(5, 8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a, b = logits.mean(0), logits.log_softmax(-1).mean(0)
    torch.testing.assert_close(a.log_softmax(-1), b.log_softmax(-1))


def test_expectation_helps_against_noise(problem):
    """On average over the noise, the mean of many looks leads further than one."""

    def reached(attack: Attack) -> float:
        adversarial = attack(Shaken(problem.net, rowwise=True), problem.images, problem.labels)
        fresh = Shaken(problem.net, rowwise=True)
        return float(torch.stack([lead(fresh, adversarial, problem.labels) for _ in range(50)]).mean())

    attack = PGD(Ball("linf", 0.05), steps=20, stop=False, random_start=False)
    assert reached(EOT(attack, 20, batched=True)) > reached(attack) + 0.05


def test_bpda_with_the_model_itself_is_the_plain_attack(problem):
    attack = PatchPGD(problem.mask, steps=10)
    plain = attack(problem.net, problem.images, problem.labels)
    assert torch.equal(BPDA(attack, problem.net)(problem.net, problem.images, problem.labels), plain)


def test_bpda_breaks_a_quantiser(problem):
    """A rounding net has no gradient; the net without rounding lends its own."""

    def rounding(x):
        return problem.net((x * 16).round() / 16)

    attack = PGD(BALL, steps=10, random_start=False)
    lost = attack(rounding, problem.images, problem.labels)
    found = BPDA(attack, problem.net)(rounding, problem.images, problem.labels)
    assert (lead(rounding, lost, problem.labels) < 0).all()
    assert (lead(rounding, found, problem.labels) > 0).float().mean() >= 0.8


def test_reports_name_the_other_model(problem):
    attack = PGD(BALL, steps=3)
    assert repr(Transfer(attack, problem.net)) == f"Transfer(attack={attack!r}, name='Sequential')"
    assert "name='lisa_cnn'" in repr(BPDA(attack, problem.net, "lisa_cnn"))
    assert "name='lead'" in repr(BPDA(attack, lead))


def test_bad_settings_raise(problem):
    attack = PGD(BALL)
    with pytest.raises(ValueError, match="EOT samples: expected from 1, got 0"):
        EOT(attack, 0)
    for make in (EOT, lambda net: Transfer(net, net), lambda net: BPDA(net, net)):
        with pytest.raises(TypeError, match="attack: expected Attack, got Sequential"):
            make(problem.net)
    for wrap in (Transfer, BPDA):
        with pytest.raises(TypeError, match="expected a model, images to logits, got int"):
            wrap(attack, 3)
