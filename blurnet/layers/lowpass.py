"""Depthwise low-pass layers, fixed and learned (BlurNet)."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from blurnet.bounds import Count, NotNegative, Odd
from blurnet.filters import KernelName, Padding, depthwise, make_kernel
from blurnet.layers.penalties import Penalty
from blurnet.settings import Settings, WithSettings, takes


@dataclass(frozen=True)
class FixedLowPassSettings(Settings):
    """Of :class:`FixedLowPass`.

    Args:
        kernel_size: odd size in pixels.
        kernel: "box" (1 / k²), "binomial" or "gaussian". BlurNet does not name its kernel; box with reflect
            padding after conv1's ReLU is the reading that gives its black-box table back.
        padding: border rule, "reflect" by default.
    """

    kernel_size: Odd = 3
    kernel: KernelName = "box"
    padding: Padding = "reflect"


@dataclass(frozen=True)
class LearnedLowPassSettings(Settings):
    """Of :class:`LearnedLowPass`.

    Args:
        channels: number of maps K, each with its own kernel.
        kernel_size: odd size in pixels.
        linf: weight of the penalty (alpha); 0 learns the filter freely.
        padding: border rule, "reflect" by default.
        init: starting kernel of every channel: "box", "binomial", "gaussian", or "identity" (passes maps through).
    """

    channels: Count
    kernel_size: Odd = 3
    linf: NotNegative = 0.0
    padding: Padding = "reflect"
    init: Literal[KernelName, "identity"] = field(default="box", repr=False)


class FixedLowPass(WithSettings, nn.Module):
    """Blur every channel with one standard kernel: on the input, or after a layer's feature maps.

    Input and output: (N, C, H, W), any C, any range. The kernel sums to 1, so constants pass unchanged.

    Args:
        settings: the fields of :class:`FixedLowPassSettings`, as arguments of their own.

    Raises:
        ValueError: even size, unknown kernel or padding, or maps too small for the padding.

    Source: Raju & Lipasti, BlurNet, section on fixed filters.
    """

    kernel: Tensor

    @takes(FixedLowPassSettings)
    def __init__(self, settings: FixedLowPassSettings) -> None:
        super().__init__()
        self.settings = settings
        # A constant, not a weight: it follows .to(device) but is no part of the state dict.
        self.register_buffer("kernel", make_kernel(settings.kernel, settings.kernel_size), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Filter maps (N, C, H, W); see :func:`blurnet.filters.depthwise`."""
        return depthwise(x, self.kernel, self.settings.padding)


class LearnedLowPass(Penalty):
    """Trainable depthwise filter with an L-infinity penalty on its kernels.

    The penalty ``linf / K * sum_j max |W[j]|`` pulls the weights of each channel's kernel towards equal size, as in
    a moving average; it is read by :func:`blurnet.layers.penalties.penalties`. Input and output: (N, channels, H, W).

    Args:
        settings: the fields of :class:`LearnedLowPassSettings`, as arguments of their own.

    Raises:
        ValueError: even size, negative ``linf``, unknown ``init`` or ``padding``, or another channel count at run time.

    Source: Raju & Lipasti, BlurNet, L-infinity regularisation.
    """

    @takes(LearnedLowPassSettings)
    def __init__(self, settings: LearnedLowPassSettings) -> None:
        super().__init__(settings.linf)
        self.settings = settings
        self.weight = nn.Parameter(_start(settings.init, settings.kernel_size).repeat(settings.channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Filter maps (N, channels, H, W); the penalty depends on the weights alone."""
        return depthwise(x, self.weight, self.settings.padding)

    def penalty(self) -> Tensor:
        """``linf / K * sum_j max_uv |W[j, u, v]|``, a scalar."""
        return linf_penalty(self.weight, self.alpha)

    def extra_repr(self) -> str:
        """The settings, for ``print(net)``."""
        return f"{self.settings.channels}, {self.shown('channels')}"


def linf_penalty(weight: Tensor, alpha: float) -> Tensor:
    """L-infinity penalty of depthwise kernels ``weight`` (K, k, k): ``alpha / K * sum_j max |weight[j]|``.

    Source: Raju & Lipasti, BlurNet; of a constant kernel c it is alpha |c|.
    """
    return alpha * weight.abs().amax(dim=(-2, -1)).mean()


def _start(init: str, k: int) -> Tensor:
    if init != "identity":
        return make_kernel(init, k)
    kernel = torch.zeros(k, k)
    kernel[k // 2, k // 2] = 1
    return kernel
