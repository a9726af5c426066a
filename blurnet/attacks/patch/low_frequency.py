"""Noise of low frequency under a mask: the attack that knows the defender blurs."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from blurnet.attacks.patch.masked import MaskedAttack, Start
from blurnet.bounds import Count
from blurnet.bpda import bpda
from blurnet.spectra import dct2, inverse_dct2

Composition = Literal["add", "replace"]


@dataclass(frozen=True)
class LowFrequency(MaskedAttack):
    """Gradient ascent on the lowest DCT coefficients of the noise: ``clip(x + m IDCT2(z))`` over z (3, band, band).

    A filter that removes high frequencies leaves this noise standing. The DCT is that of the whole image; the mask
    then cuts the noise, which puts some higher frequencies back along its edge. All of
    :class:`~blurnet.attacks.patch.masked.MaskedAttack`, where a step is measured in pixel units too: one of the size
    ``lr`` in every coefficient moves the pixels of the image by ``lr`` in root mean square. And:

    Args:
        band: coefficients kept along each axis, from 1 (one colour) to the image's shorter side (all noise); BlurNet
            sweeps 4, 8, 16 and 32 at 32 x 32 pixels.
        composition: "add", the formula above; or "replace", ``(1 - m) x + m clip(1/2 + IDCT2(z))``.

    Raises:
        ValueError: a band below 1 or beyond the image's side.

    Source: Raju & Lipasti 2020 (BlurNet), the adaptive attack on a block of the DCT; Sharma et al. 2019; Guo et al.
    2018, "Low frequency adversarial perturbation".
    """

    band: Count = 8
    composition: Composition = "add"

    def begin(self, images: Tensor, noise: Tensor, start: Start) -> Tensor:
        """Coefficients z (N, 3, band, band), in the units of a step; noise gives pixels a deviation near 0.3."""
        if self.band > min(images.shape[-2:]):
            side = min(images.shape[-2:])
            raise ValueError(f"LowFrequency band: expected at most the {side} pixels of a side, got {self.band}")
        if start == "noise":
            return (noise[..., : self.band, : self.band] - 0.5).expand(len(images), -1, -1, -1).clone()
        # The nearest noise in the band to what would give gray pixels, or the image itself.
        wanted = (0.5 if start == "gray" else images) - (images if self.composition == "add" else 0.5)
        return dct2(wanted + torch.zeros_like(images), self.band) / self._unit(images)

    def paint(self, variable: Tensor, images: Tensor) -> Tensor:
        """The image with the noise on it, or the noise around gray, (N, 3, H, W), clipped to [0, 1].

        The gradient passes the clip: coefficients that saturate most pixels would stand still otherwise.
        """
        noise = inverse_dct2(variable * self._unit(images), (images.shape[-2], images.shape[-1]))
        total = (images if self.composition == "add" else 0.5) + noise
        return bpda(total.clamp(0, 1), total)

    def project(self, variable: Tensor) -> Tensor:
        """Coefficients are free; the pixels are clipped."""
        return variable

    def _unit(self, images: Tensor) -> float:
        """The coefficient that, in every place of the band, makes pixels of root mean square 1."""
        return math.sqrt(images.shape[-2] * images.shape[-1]) / self.band
