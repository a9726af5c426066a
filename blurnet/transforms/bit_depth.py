"""Bit-depth reduction, in the three readings that were published under that name."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from blurnet.bounds import between
from blurnet.bpda import bpda
from blurnet.settings import Settings, takes
from blurnet.transforms._blocks import fill_blocks, prepare
from blurnet.transforms.base import Transform


@dataclass(frozen=True)
class BitDepthSettings(Settings):
    """Of :func:`bit_depth`.

    Args:
        bits: 1 to 8.
        rule: "squeeze", "truncate" or "quantize".
    """

    bits: Annotated[int, between(1, 8)] = 3
    rule: Literal["squeeze", "truncate", "quantize"] = "squeeze"


@takes(BitDepthSettings)
def bit_depth(x: Tensor, settings: BitDepthSettings) -> Tensor:
    """Fewer values a channel. The gradient is the identity's, straight through the rounding.

    Three different maps carry the name, and Naseer et al. do not say which is theirs:

    - "squeeze": ``round((2^bits - 1) x) / (2^bits - 1)``; 2^bits values, black and white among them (Xu et al.).
    - "truncate": drop the low bits of the 8-bit value, ``(v >> s << s) / 255``; 2^bits values, none white
      (Athalye et al.). A pixel that is no 8-bit value counts as the next one below.
    - "quantize": ``round(2^bits x) / 2^bits``; 2^bits + 1 values (Guo et al.).

    Args:
        x: images (N, C, H, W) in [0, 1].
        settings: the fields of :class:`BitDepthSettings`, as arguments of their own.

    Returns:
        Images (N, C, H, W) in [0, 1].

    Raises:
        TypeError, ValueError: bad images or settings.

    Source: Xu et al. 2018, "Feature Squeezing"; Athalye et al. 2018; Guo et al. 2018; Naseer et al. 2019 (BR).
    """
    images = prepare(x, values=False).detach()
    value = fill_blocks(lambda part, out: _reduced(part, settings, out), images, 2**19).to(x.dtype)
    return bpda(value, x) if x.requires_grad and torch.is_grad_enabled() else value


class BitDepth(Transform):
    """:func:`bit_depth` as a module, with its settings.

    A step function; its surrogate passes the gradient straight through.
    """

    differentiable = False

    @takes(BitDepthSettings)
    def __init__(self, settings: BitDepthSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to the same."""
        return bit_depth(x, self.settings)

    def surrogate(self, x: Tensor) -> Tensor:
        """The same numbers with the identity's gradient."""
        return bit_depth(x, self.settings)


def _reduced(x: Tensor, settings: BitDepthSettings, out: Tensor) -> Tensor:
    if settings.rule == "truncate":
        step = 2 ** (8 - settings.bits)
        # k / 255 * 255 is k again in single and double precision, for every k: the floor is safe.
        kept: Tensor = torch.mul(x, 255, out=out).floor_().div_(step).floor_().mul_(step).div_(255)
        return kept
    steps = 2**settings.bits - int(settings.rule == "squeeze")
    reduced: Tensor = torch.mul(x, steps, out=out).round_().div_(steps)
    return reduced
