"""Attacks with a patch of 10 % of the image against the shipped undefended nets: hardly a sign survives."""

import pytest
import torch
from torch import Tensor, nn

from blurnet.attacks.base import Attack
from blurnet.attacks.patch.lavan import LaVAN
from blurnet.attacks.patch.location import BestLocation
from blurnet.attacks.patch.low_frequency import LowFrequency
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.attacks.universal.adversarial_patch import AdversarialPatch
from blurnet.attacks.universal.poses import Poses
from blurnet.data.sources.victims import Victims, load_victims
from blurnet.zoo.models import load_model

AREA = 0.1
ATTACKS = {
    "patch-pgd": BestLocation(PatchPGD(steps=40), AREA),
    "patch-pgd-shortlist": BestLocation(PatchPGD(steps=40), AREA, shortlist=10, tries=2),
    "lavan": BestLocation(LaVAN(None, steps=100), AREA, shortlist=10),
    "lavan-second": BestLocation(LaVAN("second", steps=100), AREA, shortlist=10, tries=5),
    "low-frequency": BestLocation(LowFrequency(steps=60, band=8), AREA, shortlist=10, tries=2),
    # One patch for all signs, turned at random, on the middle of the sign: at its corners none fools them all.
    "universal": AdversarialPatch(None, AREA, "square", poses=Poses(where=(0.5, 0.5)), steps=150),
}

each_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
each_net = pytest.mark.parametrize("name", ["lisa_cnn", "lisa_cnn-synthetic"])


def share_fooled(attack: Attack, net: nn.Module, victims: Victims, count: int | None = None) -> float:
    """Of the victims that the net gets right, the share that it no longer does."""
    images, labels = victims.images[:count], victims.labels[:count]
    with torch.no_grad():
        right: Tensor = net(images).argmax(1) == labels
        assert right.float().mean() > 0.8
        adversarial = attack(net, images[right], labels[right])
        return float((net(adversarial).argmax(1) != labels[right]).float().mean())


@pytest.mark.slow
@each_net
@each_attack
def test_rp2s_stop_signs_fall(name, attack, shared_data):
    victims = load_victims(f"rp2:{shared_data / 'rp2-lisa'}")
    assert share_fooled(attack, load_model(name).eval(), victims) >= 0.95


@each_net
def test_rendered_stop_signs_fall(name):
    """The quickest of them, on a few signs that need no download."""
    fooled = share_fooled(ATTACKS["patch-pgd-shortlist"], load_model(name).eval(), load_victims("synthetic"), 20)
    assert fooled >= 0.95
