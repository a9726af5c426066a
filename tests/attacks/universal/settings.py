"""Poses that the tests of universal patches share."""

from blurnet.attacks.universal.poses import Poses

WIDE = Poses(rotation=20, scale=(0.8, 1.2), brightness=(0.9, 1.1))
ON_THE_SPOT = Poses(rotation=0, where=(0.5, 0.5))
