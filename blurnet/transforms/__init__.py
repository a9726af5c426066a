"""Image-to-image defenses that stand in front of a net."""

from blurnet.transforms.lgs import LGS, lgs
