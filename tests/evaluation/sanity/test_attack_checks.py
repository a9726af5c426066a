"""Checks that compare attacks."""

import pytest
import torch

from blurnet.bpda import bpda
from blurnet.evaluation.sanity import attack_checks
from tests.evaluation.sanity.planted import STEPS, Defended, detached, made, quantised, reversed_gradient


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


CHECKS = [
    attack_checks.noise_beats_gradient,
    attack_checks.black_box_beats_gradient,
    attack_checks.single_step_beats_iterative,
    attack_checks.steps_do_not_help,
    attack_checks.budget_does_not_help,
    attack_checks.unbounded_falls_short,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_an_honest_net_passes(check, honest):
    assert check(made(*honest)) is None


def test_the_evidence_is_counted_over_images(honest):
    net, images, labels = honest
    subject = made(Defended(net, reversed_gradient), images, labels)
    one, many = (subject.after(subject.climb(steps, size=0.25)) for steps in (1, STEPS))
    assert attack_checks.steps_do_not_help(subject).evidence == {
        "images": 16,
        "against": int((many >= one).sum()),
        "allowed": 6,
        "median_margin_weaker": float(one.median()),
        "median_margin_stronger": float(many.median()),
    }


def test_survivors_without_a_bound_are_counted(honest):
    net, images, labels = honest
    flag = attack_checks.unbounded_falls_short(made(Defended(net, detached), images, labels))
    assert flag.evidence == {"images": 16, "survivors": 16, "steps": 4 * STEPS}
