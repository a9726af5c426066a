"""Image-to-image defenses that stand in front of a net."""

from blurnet.transforms.base import Pipeline, Transform, adaptive, defend, identity_bpda, transforms_of
from blurnet.transforms.lgs import LGS, lgs
