"""Attacks: frozen settings, ``attack(model, images, labels)``."""

from blurnet.attacks.autopatch import AutoPatch
from blurnet.attacks.ball.newtonfool import NewtonFool
from blurnet.attacks.ball.pgd import FGSM, PGD
from blurnet.attacks.ball.square import Square
from blurnet.attacks.base import STANDING, WRONG, Attack, Problem, Record
from blurnet.attacks.engine.asking import Model
from blurnet.attacks.engine.goal import Goal
from blurnet.attacks.engine.losses import (
    LOSSES,
    Loss,
    cross_entropy,
    dlr,
    margin,
    non_printability,
    objective,
    succeeded,
)
from blurnet.attacks.engine.targets import Rule, choose_targets
from blurnet.attacks.engine.views import Brightness, Crop, Noise, Perspective, Resize, Rotation
from blurnet.attacks.external import External
from blurnet.attacks.patch.hard_label import HardLabel
from blurnet.attacks.patch.lavan import LaVAN
from blurnet.attacks.patch.location import BestLocation
from blurnet.attacks.patch.low_frequency import LowFrequency
from blurnet.attacks.patch.masked import MaskedAttack
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.attacks.patch.race import PatchRace, Rung
from blurnet.attacks.patch.random_search import PatchRandomSearch
from blurnet.attacks.published import PUBLISHED, published_attack
from blurnet.attacks.universal.adversarial_patch import AdversarialPatch
from blurnet.attacks.universal.files import IMAGENET_PATCH_POSES, load_imagenet_patch
from blurnet.attacks.universal.held_out import HeldOutPatch
from blurnet.attacks.universal.patch import Patch
from blurnet.attacks.universal.poses import Pose, Poses
from blurnet.attacks.universal.rp2 import RP2, RP2Result
from blurnet.attacks.wrappers.model import BPDA, EOT, Transfer
from blurnet.attacks.wrappers.penalty import BlockGradient, MapVariation, WithPenalty
from blurnet.attacks.wrappers.smallest import SmallestRadius
from blurnet.attacks.wrappers.worst_of import WorstOf
from blurnet.modes import attacking
