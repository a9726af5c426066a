"""Attacks: frozen settings, ``attack(model, images, labels)``."""

from blurnet.attacks.base import Attack, attacking
from blurnet.attacks.eot import Brightness, Crop, Noise, Perspective, Resize, Rotation
from blurnet.attacks.lavan import LaVAN
from blurnet.attacks.losses import cross_entropy, margin, non_printability
from blurnet.attacks.rp2 import RP2, RP2Result
