"""Attacks: frozen settings, ``attack(model, images, labels)``."""

from blurnet.attacks.autopatch import AutoPatch
from blurnet.attacks.base import Attack, attacking
from blurnet.attacks.blackbox import PatchRandomSearch, Square
from blurnet.attacks.compose import BPDA, EOT, Transfer
from blurnet.attacks.eot import Brightness, Crop, Noise, Perspective, Resize, Rotation
from blurnet.attacks.external import External
from blurnet.attacks.gradient import FGSM, PGD
from blurnet.attacks.hard_label import HardLabel
from blurnet.attacks.held_out import HeldOutPatch
from blurnet.attacks.lavan import LaVAN
from blurnet.attacks.location import BestLocation
from blurnet.attacks.losses import LOSSES, Loss, cross_entropy, dlr, margin, non_printability, objective, succeeded
from blurnet.attacks.low_frequency import LowFrequency
from blurnet.attacks.masked import MaskedAttack
from blurnet.attacks.patch import AdversarialPatch
from blurnet.attacks.patch_files import IMAGENET_PATCH_POSES, load_imagenet_patch
from blurnet.attacks.patch_pgd import PatchPGD
from blurnet.attacks.patch_value import Patch
from blurnet.attacks.penalty import BlockGradient, MapVariation, WithPenalty
from blurnet.attacks.poses import Pose, Poses
from blurnet.attacks.record import Detailed, Record
from blurnet.attacks.rp2 import RP2, RP2Result
from blurnet.attacks.targets import Rule, choose_targets
from blurnet.attacks.worst_of import WorstOf
