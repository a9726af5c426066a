"""A yes or no for each image as text of ones and zeros, which JSON keeps short, and what is counted in it."""

from collections.abc import Sequence
from typing import Any

import torch
from scipy.stats import binomtest
from torch import Tensor

from blurnet.rates import Rate


def marks(flags: Tensor) -> str:
    """The marks of (n,) bool."""
    return "".join("1" if value else "0" for value in flags.tolist())


def rate(text: str, groups: Sequence[str] | None = None) -> Rate:
    """The share of ones; ``groups``: what each image belongs to, such as its track, as :meth:`Rate.over` takes them."""
    return Rate.over(torch.tensor([mark == "1" for mark in text]), groups)


def rate_among(text: str, kept: str) -> Rate | None:
    """The share of ones in ``text`` among the images that ``kept`` marks; None where it marks none."""
    chosen = "".join(value for value, keep in zip(text, kept, strict=True) if keep == "1")
    return rate(chosen) if chosen else None


def paired(one: str, other: str) -> dict[str, Any]:
    """Marks of the same images compared: how many only ``one`` has, how many only ``other``, and the sign test's p."""
    gained = sum(a == "1" and b == "0" for a, b in zip(one, other, strict=True))
    lost = sum(a == "0" and b == "1" for a, b in zip(one, other, strict=True))
    p = 1.0 if gained + lost == 0 else float(binomtest(gained, gained + lost).pvalue)
    return {"gained": gained, "lost": lost, "p": round(p, 4)}
