"""Attacks: frozen settings, ``attack(model, images, labels)``."""

from blurnet.attacks.autopatch import AutoPatch
from blurnet.attacks.base import Attack, attacking
from blurnet.attacks.blackbox import PatchRandomSearch, Square
from blurnet.attacks.compose import BPDA, EOT, Transfer
from blurnet.attacks.eot import Brightness, Crop, Noise, Perspective, Resize, Rotation
from blurnet.attacks.external import External
from blurnet.attacks.gradient import FGSM, PGD
from blurnet.attacks.hard_label import HardLabel
from blurnet.attacks.lavan import LaVAN
from blurnet.attacks.losses import LOSSES, Loss, cross_entropy, dlr, margin, non_printability, objective, succeeded
from blurnet.attacks.record import Detailed, Record
from blurnet.attacks.rp2 import RP2, RP2Result
from blurnet.attacks.targets import Rule, choose_targets
from blurnet.attacks.worst_of import WorstOf
