"""Objectives without an attack against their formulas."""

import torch
import torch.nn.functional as F

from blurnet.training.objectives.base import CleanLogitPairing, Natural
from tests.training.objectives.by_hand import value_of


def test_natural(net, batch):
    images, labels = batch
    smooth = Natural(label_smoothing=0.1)
    torch.testing.assert_close(value_of(smooth, net, batch), F.cross_entropy(net(images), labels, label_smoothing=0.1))


def test_clean_logit_pairing(net, batch):
    images, labels = batch
    logits = net.eval()(images)
    distances = [(logits[i] - logits[i + 3]).norm() ** 2 for i in range(3)]  # the seventh image has no partner
    wanted = F.cross_entropy(logits, labels) + 0.2 * sum(distances) / 3
    torch.testing.assert_close(value_of(CleanLogitPairing(weight=0.2), net, batch), wanted)
    one = (images[:1], labels[:1])
    assert torch.equal(value_of(CleanLogitPairing(), net, one), value_of(Natural(), net, one))
