"""Defenses around a classifier that prove which of their answers no patch can turn."""

from blurnet.certified.base import Certificate, CertifiedModel
from blurnet.certified.derandomized import Derandomized
from blurnet.certified.double_masking import DoubleMasking
from blurnet.certified.mask_set import MaskSet
from blurnet.certified.minority import MinorityReports
