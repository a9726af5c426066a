"""The settings of local gradients smoothing, checked once, and the windows they lay over an image."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from blurnet.checks import check_odd
from blurnet.transforms._stencils import Stencil

Maps = Literal["gray", "channel"]
Padding = Literal["reflect", "none"]
Gate = Literal["hard", "soft"]


@dataclass(frozen=True)
class Settings:
    """Arguments of :func:`blurnet.transforms.lgs.lgs.lgs`, described there.

    Raises:
        ValueError: a value out of its range; the message names it.
    """

    smoothing: float | Tensor
    block: int | None
    overlap: int | None
    threshold: float | Tensor
    temperature: float
    maps: Maps
    stencil: Stencil
    padding: Padding
    gate: Gate
    low_pass: int

    def __post_init__(self) -> None:
        for name in ("smoothing", "threshold", "temperature"):
            value = getattr(self, name)
            if not isinstance(value, Tensor) and not 0 <= value < math.inf:
                raise ValueError(f"lgs {name}: expected a finite number from 0, got {value!r}")
        if self.block is not None and self.block < 1:
            raise ValueError(f"lgs block: expected a positive number of pixels, got {self.block!r}")
        if self.overlap is not None and (self.overlap < 0 or (self.block is not None and self.overlap >= self.block)):
            raise ValueError(f"lgs overlap: expected from 0 to below the block {self.block}, got {self.overlap!r}")
        for name, allowed in (("maps", Maps), ("stencil", Stencil), ("padding", Padding), ("gate", Gate)):
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(f"lgs {name}: expected one of {list(get_args(allowed))}, got {getattr(self, name)!r}")
        if self.gate == "soft" and self.temperature == 0:
            raise ValueError("lgs temperature: a soft gate needs a positive one, got 0")
        if self.low_pass != 0:
            check_odd(self.low_pass, "lgs low_pass")

    def windows(self, size: torch.Size) -> "Windows":
        """The windows over images of shape (N, C, H, W); ValueError where they do not fit."""
        height, width = size[-2:]
        side = min(height, width)
        if side < 2:
            raise ValueError(f"lgs: images need at least 2 x 2 pixels for a gradient, got {tuple(size)}")
        block = min(15, max(side // 5, 2)) if self.block is None else self.block
        overlap = block // 3 if self.overlap is None else self.overlap
        if block > side or overlap >= block:
            raise ValueError(f"lgs: block {block} with overlap {overlap} does not fit images {tuple(size)}")
        if self.low_pass // 2 >= side:
            raise ValueError(f"lgs: low_pass {self.low_pass} does not fit images {tuple(size)}")
        stride = block - overlap
        past = stride - 1 if self.padding == "reflect" else 0  # one more window where a strip is left
        rows, columns = ((length - block + past) // stride + 1 for length in (height, width))
        return Windows(height, width, block, stride, rows, columns)


@dataclass(frozen=True)
class Windows:
    """``rows`` x ``columns`` windows of ``block`` pixels, every ``stride``, on images of height x width pixels."""

    height: int
    width: int
    block: int
    stride: int
    rows: int
    columns: int

    @property
    def cell(self) -> int:
        """Side of the largest squares of which all windows are made, in pixels."""
        return math.gcd(self.block, self.stride)

    @property
    def covered(self) -> tuple[int, int]:
        """Pixels from the first window's begin to the last one's end, down and across; may exceed the image."""
        return (self.rows - 1) * self.stride + self.block, (self.columns - 1) * self.stride + self.block

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of the map that holds image and windows, in whole cells."""
        down, across = self.covered
        cell = self.cell
        return -(-max(down, self.height) // cell) * cell, -(-max(across, self.width) // cell) * cell
