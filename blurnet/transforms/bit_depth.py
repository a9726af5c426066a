"""Bit-depth reduction, in the three readings that were published under that name."""

from typing import Literal, get_args

import torch
from torch import Tensor

from blurnet.bpda import bpda
from blurnet.transforms._blocks import fill_blocks, prepare
from blurnet.transforms.base import Transform

BitRule = Literal["squeeze", "truncate", "quantize"]


def bit_depth(x: Tensor, bits: int = 3, rule: BitRule = "squeeze") -> Tensor:
    """Fewer values a channel. The gradient is the identity's, straight through the rounding.

    Three different maps carry the name, and Naseer et al. do not say which is theirs:

    - "squeeze": ``round((2^bits - 1) x) / (2^bits - 1)``; 2^bits values, black and white among them (Xu et al.).
    - "truncate": drop the low bits of the 8-bit value, ``(v >> s << s) / 255``; 2^bits values, none white
      (Athalye et al.). A pixel that is no 8-bit value counts as the next one below.
    - "quantize": ``round(2^bits x) / 2^bits``; 2^bits + 1 values (Guo et al.).

    Args:
        x: images (N, C, H, W) in [0, 1].
        bits: 1 to 8.
        rule: "squeeze", "truncate" or "quantize".

    Returns:
        Images (N, C, H, W) in [0, 1].

    Raises:
        TypeError, ValueError: bad images or settings.

    Source: Xu et al. 2018, "Feature Squeezing"; Athalye et al. 2018; Guo et al. 2018; Naseer et al. 2019 (BR).
    """
    _check(bits, rule)
    images = prepare(x, values=False).detach()
    value = fill_blocks(lambda part, out: _reduced(part, bits, rule, out), images, 2**19).to(x.dtype)
    return bpda(value, x) if x.requires_grad and torch.is_grad_enabled() else value


class BitDepth(Transform):
    """:func:`bit_depth` as a module. A step function; its surrogate passes the gradient straight through."""

    differentiable = False

    def __init__(self, bits: int = 3, rule: BitRule = "squeeze") -> None:
        super().__init__()
        _check(bits, rule)
        self.bits, self.rule = bits, rule

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to the same."""
        return bit_depth(x, self.bits, self.rule)

    def surrogate(self, x: Tensor) -> Tensor:
        """The same numbers with the identity's gradient."""
        return bit_depth(x, self.bits, self.rule)

    def extra_repr(self) -> str:
        """The arguments, for ``print(net)``."""
        return f"bits={self.bits}, rule={self.rule!r}"


def _reduced(x: Tensor, bits: int, rule: str, out: Tensor) -> Tensor:
    if rule == "truncate":
        step = 2 ** (8 - bits)
        # k / 255 * 255 is k again in single and double precision, for every k: the floor is safe.
        kept: Tensor = torch.mul(x, 255, out=out).floor_().div_(step).floor_().mul_(step).div_(255)
        return kept
    steps = 2**bits - int(rule == "squeeze")
    reduced: Tensor = torch.mul(x, steps, out=out).round_().div_(steps)
    return reduced


def _check(bits: int, rule: str) -> None:
    if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= 8:
        raise ValueError(f"bit depth: expected an integer from 1 to 8, got {bits!r}")
    if rule not in get_args(BitRule):
        raise ValueError(f"bit depth rule: expected one of {list(get_args(BitRule))}, got {rule!r}")
