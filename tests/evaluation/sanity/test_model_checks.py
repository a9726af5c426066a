"""Checks that look at the model itself: what each finds, and what it leaves alone."""

import pytest
import torch

from blurnet.evaluation.sanity.model_checks import (
    optimises_inside,
    probabilities,
    random_model,
    vanishing_gradient,
    zero_gradient,
)
from blurnet.modes import attacking
from tests.evaluation.sanity.planted import (
    Defended,
    detached,
    made,
    noisy,
    purified_by_optimizer,
    quantised,
    saturated,
    softmax,
    trained_inside,
)

CHECKS = (probabilities, random_model, zero_gradient, vanishing_gradient, optimises_inside)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_an_honest_net_passes(check, honest):
    assert check(made(*honest)) is None


def test_probabilities_are_not_negative_and_sum_to_one(honest):
    net, images, labels = honest
    flag = probabilities(made(Defended(net, softmax), images, labels))
    assert flag.evidence["smallest"] >= 0
    assert flag.evidence["row_sums"] == pytest.approx([1, 1], abs=1e-5)
    assert probabilities(made(Defended(net, lambda n, x: 2 * softmax(n, x)), images, labels)) is None


def test_a_random_model_differs_from_pass_to_pass(honest):
    net, images, labels = honest
    flag = random_model(made(Defended(net, noisy), images, labels))
    assert flag.evidence["difference"] > flag.evidence["allowed"] == 1e-3


def test_a_gradient_of_zero_is_told_from_none(honest):
    net, images, labels = honest
    zero = zero_gradient(made(Defended(net, quantised), images, labels)).evidence
    assert zero == {"images": 16, "zero": 16}
    model = Defended(net, detached)
    with attacking(model):
        assert "does not require grad" in zero_gradient(made(model, images, labels)).evidence["error"]


def test_a_sure_softmax_loses_its_gradient(honest):
    net, images, labels = honest
    subject = made(Defended(net, saturated), images, labels)
    evidence = vanishing_gradient(subject).evidence
    assert evidence["lost"] >= 7
    assert evidence["share_of_margin_gradient"] <= 1e-30
    assert (subject.gradient("margin") > 0).all()


def test_steps_inside_are_told_from_changed_weights(honest):
    net, images, labels = honest
    by_steps = optimises_inside(made(Defended(net, purified_by_optimizer), images, labels)).evidence
    assert by_steps["backward_steps"] > 0
    assert by_steps["changed"] == []
    bias = net[0].bias.detach().clone()
    changed = optimises_inside(made(Defended(net, trained_inside), images, labels)).evidence
    assert changed == {"backward_steps": 0, "changed": ["net.0.bias"]}
    with torch.no_grad():
        net[0].bias.copy_(bias)
