"""Local gradients smoothing: darken the image where its gradients crowd."""

import dataclasses

import torch
from torch import Tensor, nn

from blurnet.bpda import bpda
from blurnet.checks import check_images
from blurnet.settings import takes
from blurnet.transforms.base import Transform
from blurnet.transforms.lgs.fast import lgs_fast
from blurnet.transforms.lgs.formula import lgs_formula
from blurnet.transforms.lgs.settings import LGSModuleSettings, LGSSettings


@takes(LGSSettings)
def lgs(x: Tensor, settings: LGSSettings) -> Tensor:
    """Suppress the regions in which gradients are dense, as localized adversarial noise makes them.

    The gradient magnitude (Eq. 5) is scaled to [0, 1] per image (Eq. 6), kept inside the windows whose mean exceeds
    ``threshold`` (Eq. 8), and the image is multiplied by ``1 - clip(smoothing * gradient, 0, 1)`` (Eq. 7). An image
    whose gradients are all alike comes back unchanged. No image's result depends on its batch, and the numbers are
    the same with and without a recorded gradient.

    Where the paper is silent: a pixel counts if any window over it does, which equals averaging the kept windows as
    other code does; windows begin at the first pixel, every ``block - overlap``.

    Args:
        x: images (N, C, H, W) in [0, 1], at least 2 x 2 pixels, before any normalisation; any number of channels.
        settings: the fields of :class:`~blurnet.transforms.lgs.settings.LGSSettings`, as arguments of their own.

    Returns:
        Images (N, C, H, W) in [0, 1], in the dtype of ``x``.

    Raises:
        TypeError, ValueError: bad images or settings.

    Source: Naseer et al. 2019, "Local Gradients Smoothing", Eq. 5-8.
    """
    if torch.compiler.is_compiling():  # the passes in place cannot be traced
        return lgs_formula(x, settings, settings.windows(x.shape))
    check_images(x[:1] if x.ndim == 4 else x, channels=None)  # the rest is checked chunk by chunk
    windows = settings.windows(x.shape)
    if settings.gate == "soft":
        check_images(x, channels=None)
        return lgs_formula(x, settings, windows)
    with torch.no_grad():
        value = lgs_fast(x, settings, windows)
    learned = any(isinstance(t, Tensor) and t.requires_grad for t in (settings.smoothing, settings.threshold))
    if not (torch.is_grad_enabled() and (x.requires_grad or learned)):
        return value
    return bpda(value, lgs_formula(x, settings, windows))


class LGS(Transform):
    """:func:`lgs` as a module, to stand in front of a net; images as there.

    Differentiable: its own gradient is that of Eq. 5-7, exact, with the gate passed straight through, and an
    adaptive attacker uses the same.

    Args:
        settings: the fields of :class:`~blurnet.transforms.lgs.settings.LGSModuleSettings`, as arguments of their own.
    """

    differentiable = True
    smoothing: float | Tensor
    threshold: float | Tensor

    @takes(LGSModuleSettings)
    def __init__(self, settings: LGSModuleSettings) -> None:
        super().__init__()
        self.settings = settings
        for name in ("smoothing", "threshold"):
            value = getattr(settings, name)
            setattr(self, name, nn.Parameter(torch.tensor(value)) if settings.trainable else value)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to the same shape and range."""
        if not self.settings.trainable:
            return lgs(x, self.settings)
        return lgs(x, dataclasses.replace(self.settings, smoothing=self.smoothing, threshold=self.threshold))

    def extra_repr(self) -> str:
        """The settings, for ``print(net)``; what is learned with its present value."""
        return self.shown() + (", trainable=True" if self.settings.trainable else "")
