"""A patch of free noise for each image, found by projected gradient ascent."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from blurnet.attacks.patch.masked import MaskedAttack, Start
from blurnet.bpda import bpda

Composition = Literal["replace", "add"]


@dataclass(frozen=True)
class PatchPGD(MaskedAttack):
    """Projected gradient ascent on the pixels under a mask, each image for itself.

    All of :class:`~blurnet.attacks.patch.masked.MaskedAttack`, and:

    Args:
        composition: "replace", ``(1 - m) x + m d`` with d in [0, 1]; or "add", RP2's ``clip(x + m d)`` with d in
            [-1, 1], where the gradient passes the clip, so that a saturated pixel finds its way back.

    Source: Madry et al. 2018 for the ascent; Croce and Hein 2020 for its step size; Karmon et al. 2018 and Eykholt
    et al. 2018 for the two compositions.
    """

    composition: Composition = "replace"

    def begin(self, images: Tensor, noise: Tensor, start: Start) -> Tensor:
        """Noise d (N, 3, H, W): under "replace" the start itself, under "add" what leads to it from the image.

        The start "noise" is added to the image under "add", from [-1/2, 1/2].
        """
        if self.composition == "replace":
            pixels = {"noise": noise, "gray": noise.new_tensor(0.5), "image": images}[start]
        else:
            pixels = {"noise": noise - 0.5, "gray": 0.5 - images, "image": noise.new_tensor(0.0)}[start]
        return pixels.expand_as(images).clone()

    def paint(self, variable: Tensor, images: Tensor) -> Tensor:
        """The patch, or the image with the noise on it, (N, 3, H, W) in [0, 1]."""
        if self.composition == "replace":
            return variable
        total = images + variable
        return bpda(total.clamp(0, 1), total)

    def project(self, variable: Tensor) -> Tensor:
        """Clip to [0, 1], or to [-1, 1] under "add"."""
        return variable.clamp(0 if self.composition == "replace" else -1, 1)
