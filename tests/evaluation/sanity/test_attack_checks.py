"""Checks that compare attacks."""

import torch

from blurnet.bpda import bpda
from blurnet.evaluation.sanity import attack_checks
from tests.evaluation.sanity.planted import Defended, made, quantised


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
