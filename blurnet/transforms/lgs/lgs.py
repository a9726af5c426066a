"""Local gradients smoothing: darken the image where its gradients crowd."""

import torch
from torch import Tensor, nn

from blurnet.bpda import bpda
from blurnet.checks import check_images
from blurnet.transforms._stencils import Stencil
from blurnet.transforms.base import Transform
from blurnet.transforms.lgs.fast import lgs_fast
from blurnet.transforms.lgs.formula import lgs_formula
from blurnet.transforms.lgs.settings import Gate, Maps, Padding, Settings


def lgs(
    x: Tensor,
    smoothing: float | Tensor = 2.3,
    block: int | None = None,
    overlap: int | None = None,
    threshold: float | Tensor = 0.1,
    temperature: float = 0.05,
    *,
    maps: Maps = "gray",
    stencil: Stencil = "forward",
    padding: Padding = "reflect",
    gate: Gate = "hard",
    low_pass: int = 0,
) -> Tensor:
    """Suppress the regions in which gradients are dense, as localized adversarial noise makes them.

    The gradient magnitude (Eq. 5) is scaled to [0, 1] per image (Eq. 6), kept inside the windows whose mean exceeds
    ``threshold`` (Eq. 8), and the image is multiplied by ``1 - clip(smoothing * gradient, 0, 1)`` (Eq. 7). An image
    whose gradients are all alike comes back unchanged. No image's result depends on its batch, and the numbers are
    the same with and without a recorded gradient.

    Where the paper is silent: a pixel counts if any window over it does, which equals averaging the kept windows as
    other code does; windows begin at the first pixel, every ``block - overlap``.

    Args:
        x: images (N, C, H, W) in [0, 1], at least 2 x 2 pixels, before any normalisation; any number of channels.
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

    Returns:
        Images (N, C, H, W) in [0, 1], in the dtype of ``x``.

    Raises:
        TypeError, ValueError: bad images or settings.

    Source: Naseer et al. 2019, "Local Gradients Smoothing", Eq. 5-8.
    """
    settings = Settings(smoothing, block, overlap, threshold, temperature, maps, stencil, padding, gate, low_pass)
    if torch.compiler.is_compiling():  # the passes in place cannot be traced
        return lgs_formula(x, settings, settings.windows(x.shape))
    check_images(x[:1] if x.ndim == 4 else x, channels=None)  # the rest is checked chunk by chunk
    windows = settings.windows(x.shape)
    if gate == "soft":
        check_images(x, channels=None)
        return lgs_formula(x, settings, windows)
    with torch.no_grad():
        value = lgs_fast(x, settings, windows)
    learned = any(isinstance(t, Tensor) and t.requires_grad for t in (smoothing, threshold))
    if not (torch.is_grad_enabled() and (x.requires_grad or learned)):
        return value
    return bpda(value, lgs_formula(x, settings, windows))


class LGS(Transform):
    """:func:`lgs` as a module, to stand in front of a net; arguments and images as there.

    Differentiable: its own gradient is that of Eq. 5-7, exact, with the gate passed straight through, and an
    adaptive attacker uses the same.

    Args:
        smoothing, block, overlap, threshold, temperature, maps, stencil, padding, gate, low_pass: see :func:`lgs`.
        trainable: make smoothing and threshold parameters, which learn through the images that follow. A smoothing
            that falls below 0 acts as 0.
    """

    differentiable = True

    def __init__(
        self,
        smoothing: float = 2.3,
        block: int | None = None,
        overlap: int | None = None,
        threshold: float = 0.1,
        temperature: float = 0.05,
        *,
        maps: Maps = "gray",
        stencil: Stencil = "forward",
        padding: Padding = "reflect",
        gate: Gate = "hard",
        low_pass: int = 0,
        trainable: bool = False,
    ) -> None:
        super().__init__()
        Settings(smoothing, block, overlap, threshold, temperature, maps, stencil, padding, gate, low_pass)
        self.smoothing: float | Tensor = nn.Parameter(torch.tensor(smoothing)) if trainable else smoothing
        self.threshold: float | Tensor = nn.Parameter(torch.tensor(threshold)) if trainable else threshold
        self.block, self.overlap, self.temperature = block, overlap, temperature
        self.maps, self.stencil, self.padding = maps, stencil, padding
        self.gate, self.low_pass, self.trainable = gate, low_pass, trainable

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to the same shape and range."""
        return lgs(
            x,
            self.smoothing,
            self.block,
            self.overlap,
            self.threshold,
            self.temperature,
            maps=self.maps,
            stencil=self.stencil,
            padding=self.padding,
            gate=self.gate,
            low_pass=self.low_pass,
        )

    def extra_repr(self) -> str:
        """The arguments, for ``print(net)``."""
        smoothing, threshold = (float(torch.as_tensor(v).detach()) for v in (self.smoothing, self.threshold))
        shown = f"smoothing={smoothing:g}, block={self.block}, overlap={self.overlap}"
        shown += f", threshold={threshold:g}, maps={self.maps!r}, stencil={self.stencil!r}"
        shown += f", padding={self.padding!r}, gate={self.gate!r}, low_pass={self.low_pass}"
        return shown + (", trainable=True" if self.trainable else "")
