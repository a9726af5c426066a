"""The settings of local gradients smoothing."""

from dataclasses import KW_ONLY, dataclass, field
from typing import Literal

import torch
from torch import Tensor

from blurnet.bounds import Count, NotNegative, Odd, Steps
from blurnet.filters import Stencil, Windows, windows_over
from blurnet.settings import Settings


@dataclass(frozen=True)
class LGSSettings(Settings):
    """Of :func:`blurnet.transforms.lgs.lgs.lgs`.

    Args:
        smoothing: the paper's lambda, 0 (identity) and up; the paper tries 1.5 to 2.3. May be a tensor to learn.
        block: side of the windows in pixels, at most the image's shorter side. None: the paper's 15, and on images
            whose shorter side is below 75 pixels a fifth of that side (6 at 32 x 32), at least 2.
        overlap: pixels that neighbouring windows share, below ``block``. None: a third of the block, as 5 of 15.
        threshold: mean of the scaled gradient above which a window is kept, the paper's gamma. May be a tensor.
        temperature: of the gate ``sigmoid((mean - threshold) / temperature)``. The hard gate takes its gradient from
            it straight through, averaged over the windows at a pixel; 0 gives the gate none, which is exact except
            at the threshold.
        maps: gradients of the mean over channels ("gray"), or of each channel, which then darkens by its own; scaled
            and averaged in the windows over all channels of an image ("channel").
        stencil: "forward" difference, the last one repeated; "central" as numpy.gradient; "sobel" as scipy.
        padding: "reflect" continues the gradient at the right and the lower border until the windows reach it. With
            "none" (the published code) the strip that whole windows leave, 4 pixels at 299, is not protected.
        gate: "hard" as published, or "soft": smooth everywhere, the probability that any window at a pixel is kept,
            which becomes the hard gate as the temperature goes to 0.
        low_pass: size in pixels, odd, of a Gaussian that the kept regions pass before they are darkened, as the
            paper's section 6 suggests; 0 for none.

    Raises:
        TypeError, ValueError: a value that is not allowed; the message names it.
    """

    smoothing: NotNegative | Tensor = 2.3
    block: Count | None = None
    overlap: Steps | None = None
    threshold: NotNegative | Tensor = 0.1
    temperature: NotNegative = field(default=0.05, repr=False)
    _: KW_ONLY
    maps: Literal["gray", "channel"] = "gray"
    stencil: Stencil = "forward"
    padding: Literal["reflect", "none"] = "reflect"
    gate: Literal["hard", "soft"] = "hard"
    low_pass: Odd | Literal[0] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.block is not None and self.overlap is not None and self.overlap >= self.block:
            raise ValueError(f"LGS overlap: expected from 0 to below the block {self.block}, got {self.overlap!r}")
        if self.gate == "soft" and self.temperature == 0:
            raise ValueError("LGS temperature: a soft gate needs a positive one, got 0")

    def windows(self, size: torch.Size) -> Windows:
        """The windows over images of shape (N, C, H, W); ValueError where they do not fit."""
        windows = windows_over(size, self.block, self.overlap, beyond=self.padding == "reflect", what="lgs")
        if self.low_pass // 2 >= min(size[-2:]):
            raise ValueError(f"lgs: low_pass {self.low_pass} does not fit images {tuple(size)}")
        return windows


@dataclass(frozen=True)
class LGSModuleSettings(LGSSettings, owner="LGS"):
    """Of :class:`blurnet.transforms.lgs.lgs.LGS`: those of :class:`LGSSettings` and, by keyword, one more.

    Args:
        trainable: make smoothing and threshold parameters, which learn through the images that follow. A smoothing
            that falls below 0 acts as 0.
    """

    _: KW_ONLY
    trainable: bool = field(default=False, repr=False)
