"""Depthwise low-pass layers, fixed and learned (BlurNet)."""

import torch
from torch import Tensor, nn

from blurnet.checks import check_odd
from blurnet.filters import KernelName, Padding, check_padding, depthwise, make_kernel
from blurnet.layers.penalties import Penalty


class FixedLowPass(nn.Module):
    """Blur every channel with one standard kernel: on the input, or after a layer's feature maps.

    Input and output: (N, C, H, W), any C, any range. The kernel sums to 1, so constants pass unchanged.

    Args:
        kernel_size: odd size in pixels.
        kernel: "box" (1 / k²), "binomial" or "gaussian". BlurNet does not name its kernel; box with reflect
            padding after conv1's ReLU is the reading that gives its black-box table back.
        padding: border rule, "reflect" by default.

    Raises:
        ValueError: even size, unknown kernel or padding, or maps too small for the padding.

    Source: Raju & Lipasti, BlurNet, section on fixed filters.
    """

    kernel: Tensor

    def __init__(self, kernel_size: int = 3, kernel: KernelName = "box", padding: Padding = "reflect") -> None:
        super().__init__()
        check_padding(padding)
        self.kernel_size, self.kernel_name, self.padding = kernel_size, kernel, padding
        # A constant, not a weight: it follows .to(device) but is no part of the state dict.
        self.register_buffer("kernel", make_kernel(kernel, kernel_size), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Filter maps (N, C, H, W); see :func:`blurnet.filters.depthwise`."""
        return depthwise(x, self.kernel, self.padding)

    def extra_repr(self) -> str:
        """The arguments, for ``print(net)``."""
        return f"kernel_size={self.kernel_size}, kernel={self.kernel_name!r}, padding={self.padding!r}"


class LearnedLowPass(Penalty):
    """Trainable depthwise filter with an L-infinity penalty on its kernels.

    The penalty ``linf / K * sum_j max |W[j]|`` pulls the weights of each channel's kernel towards equal size, as in
    a moving average; it is read by :func:`blurnet.layers.penalties.penalties`. Input and output: (N, channels, H, W).

    Args:
        channels: number of maps K, each with its own kernel.
        kernel_size: odd size in pixels.
        linf: weight of the penalty (alpha); 0 learns the filter freely.
        padding: border rule, "reflect" by default.
        init: starting kernel of every channel: "box", "binomial", "gaussian", or "identity" (passes maps through).

    Raises:
        ValueError: even size, negative ``linf``, unknown ``init`` or ``padding``, or another channel count at run time.

    Source: Raju & Lipasti, BlurNet, L-infinity regularisation.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 3,
        linf: float = 0.0,
        padding: Padding = "reflect",
        init: str = "box",
    ) -> None:
        super().__init__(linf)
        check_odd(kernel_size)
        check_padding(padding)
        self.channels, self.kernel_size, self.padding, self.init = channels, kernel_size, padding, init
        self.weight = nn.Parameter(_start(init, kernel_size).repeat(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Filter maps (N, channels, H, W); the penalty depends on the weights alone."""
        return depthwise(x, self.weight, self.padding)

    def penalty(self) -> Tensor:
        """``linf / K * sum_j max_uv |W[j, u, v]|``, a scalar."""
        return linf_penalty(self.weight, self.alpha)

    def extra_repr(self) -> str:
        """The arguments, for ``print(net)``."""
        return f"{self.channels}, kernel_size={self.kernel_size}, linf={self.alpha:g}, padding={self.padding!r}"


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
