"""Counter-based random numbers: each row is a pure function of its key, whatever batch it stands in."""

import math

import torch
from torch import Tensor

# SplitMix64 (Steele, Lea, Flood 2014): its constants as signed 64-bit integers, since torch has no uint64 products.
_GOLDEN = -7046029254386353131
_MIX_1 = -4658895280553007687
_MIX_2 = -7723592293110705685


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Logical right shift; torch's own keeps the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _scramble(x: Tensor) -> Tensor:
    x = (x ^ _shifted(x, 30)) * _MIX_1
    x = (x ^ _shifted(x, 27)) * _MIX_2
    return x ^ _shifted(x, 31)


def keys(seed: int, stream: int, items: Tensor) -> Tensor:
    """One 64-bit key for each (seed, stream, item).

    Args:
        seed: any integer; its low 64 bits count.
        stream: a number that separates independent series, such as the splits of a data set.
        items: int64 (N,).

    Returns:
        int64 (N,).
    """
    low = (seed & (2**64 - 1)) - (2**64 if seed & 2**63 else 0)
    root = _scramble(torch.tensor([low], dtype=torch.int64) + _GOLDEN)
    branch = _scramble(root + torch.tensor([stream + 1]) * _GOLDEN)
    return _scramble(branch.to(items.device) + (items + 1) * _GOLDEN)


class Draws:
    """Random tensors with one row a key; successive calls give fresh, independent numbers.

    Args:
        keys: int64 (N,), from :func:`keys`.
    """

    def __init__(self, keys: Tensor) -> None:
        self._keys = keys
        self._count = 0

    def _bits(self, *shape: int) -> Tensor:
        size = math.prod(shape)
        counter = torch.arange(self._count + 1, self._count + size + 1, device=self._keys.device)
        self._count += size
        return _scramble(self._keys[:, None] + counter * _GOLDEN).reshape(-1, *shape)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Float32 (N, *shape), uniform in [low, high)."""
        return _shifted(self._bits(*shape), 40).float() * ((high - low) / 2**24) + low

    def normal(self, *shape: int) -> Tensor:
        """Float32 (N, *shape), mean 0 and variance 1, within [-3.5, 3.5].

        The sum of four uniforms: exact integer arithmetic, so the same on every machine, and close enough to
        Gaussian for sensor noise.
        """
        bits = self._bits(*shape)
        total = (bits & 0xFFFF) + (_shifted(bits, 16) & 0xFFFF)
        total = total + (_shifted(bits, 32) & 0xFFFF) + _shifted(bits, 48)
        return (total.float() / 65535 - 2) * math.sqrt(3)

    def chance(self, p: float, *shape: int) -> Tensor:
        """Float32 (N, *shape) of zeros and ones, one with probability p."""
        return (self.uniform(0, 1, *shape) < p).float()

    def choice(self, counts: Tensor) -> Tensor:
        """Int64 (N,), uniform in [0, counts[n])."""
        return _shifted(self._bits(1)[:, 0], 33) % counts
