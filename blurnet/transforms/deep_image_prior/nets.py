"""The untrained nets: hourglasses with skips, one for each of N images, run as one by grouped convolutions."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from blurnet.bounds import Count, Steps
from blurnet.settings import Settings

NetName = Literal["small", "tiny", "snail", "reference"]
Activation = Literal["swish", "leaky_relu", "relu", "elu"]

_ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "swish": nn.SiLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "relu": nn.ReLU,
    "elu": nn.ELU,
}


@dataclass(frozen=True)
class Hourglass(Settings):
    """The shape of a net: at every scale down by a stride of 2, and up again beside what a skip brings along.

    Args:
        widths: channels of each scale, from the image's own size downwards.
        skips: channels of each scale's skip; 0 for none.
        inputs: channels of the noise that the net draws from.
        upsampling: on the way up.
        padding: at the borders of the maps.
        activation: behind every normalised convolution.

    Raises:
        ValueError: no scale, or as many skips as there are no scales.
    """

    widths: tuple[Count, ...]
    skips: tuple[Steps, ...]
    inputs: Count
    upsampling: Literal["bilinear", "nearest"] = "bilinear"
    padding: Literal["reflect", "zeros"] = "reflect"
    activation: Activation = "swish"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.widths or len(self.skips) != len(self.widths):
            raise ValueError(f"Hourglass: expected a skip for each scale, got widths {self.widths}, skips {self.skips}")

    def fitted(self, height: int, width: int) -> "Hourglass":
        """The net with the scales, one at least, that leave an image of this size 2 pixels at the deepest."""
        scales = max(1, min(len(self.widths), int(math.log2(min(height, width))) - 1))
        return replace(self, widths=self.widths[:scales], skips=self.skips[:scales])

    def canvas(self, height: int, width: int) -> tuple[int, int]:
        """The smallest size (H, W) that the net can draw, and that holds such an image."""
        cell = 2 ** len(self.widths)
        rows, columns = (max(2, math.ceil(side / cell)) * cell for side in (height, width))
        return rows, columns

    def memory(self, height: int, width: int, channels: int = 3) -> int:
        """About how many values are kept for the backward pass of one image on a canvas of this size."""
        total, inputs, pixels = 0, self.inputs, height * width
        for depth, (width_, skip) in enumerate(zip(self.widths, self.skips, strict=True)):
            here, below = pixels / 4**depth, pixels / 4 ** (depth + 1)
            deeper = self.widths[min(depth + 1, len(self.widths) - 1)]
            total += int(
                3 * here * (inputs + skip) + 6 * below * width_ + 2 * here * (deeper + skip) + 6 * here * width_
            )
            inputs = width_
        return total + 2 * channels * pixels


#: Shapes by name. "reference": the denoising net of the authors' code, "snail": its small one; "tiny": DIPDefend's;
#: "small": ours, for a CPU.
NETS: dict[NetName, Hourglass] = {
    "small": Hourglass((8, 16, 32, 64), (4, 4, 4, 4), 8),
    "tiny": Hourglass((4, 8, 16), (0, 0, 0), 1),
    "snail": Hourglass((8, 16, 32, 64, 128), (0, 0, 0, 4, 4), 3),
    "reference": Hourglass((128,) * 5, (4,) * 5, 32),
}


class PriorNets(nn.Module):
    """N nets of one shape, each with weights of its own, from one noise to N images.

    All begin with the same random weights, so that an image's result does not depend on its companions. The maps of the
    N nets lie behind each other as channels. Batch normalisation sees one image alone, in every mode; convolutions in
    front of it have no bias, which it would take away.

    Args:
        shape: of each net.
        channels: of the images.
        nets: N.
        generator: of the random weights, uniform as PyTorch draws a convolution's.
        like: device and dtype to be made on.

    Source: Ulyanov et al. 2018, supplement; the authors' ``models/skip.py``.
    """

    def __init__(self, shape: Hourglass, channels: int, nets: int, generator: torch.Generator, like: Tensor) -> None:
        super().__init__()
        self.nets = nets
        with torch.device("meta"):  # nothing is drawn from the global generator
            self.scales = _Scale(shape, 0, nets)
            self.last = nn.Conv2d(shape.widths[0] * nets, channels * nets, 1, groups=nets)
        self.to_empty(device=like.device)
        self.to(like.dtype)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                _draw(module, nets, generator)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, noise: Tensor) -> Tensor:
        """Noise (1, inputs, H, W), the same for all nets, to images (N, C, H, W) in (0, 1)."""
        drawn = torch.sigmoid(self.last(self.scales(noise)))
        return drawn.reshape(self.nets, -1, *noise.shape[-2:])


class _Scale(nn.Module):
    """One scale and all below it: maps of the scale above to maps of ``widths[depth]`` channels at the same size."""

    def __init__(self, shape: Hourglass, depth: int, nets: int) -> None:
        super().__init__()
        self.nets = nets
        width, skip = shape.widths[depth], shape.skips[depth]
        above = shape.widths[depth - 1] if depth else shape.inputs
        deeper = [_Scale(shape, depth + 1, nets)] if depth + 1 < len(shape.widths) else []
        below = shape.widths[depth + 1] if deeper else width
        # At the top all nets see the same noise.
        self.skip = _block(above, skip, 1, 1, nets, shape, shared=not depth) if skip else None
        self.down = nn.Sequential(
            _block(above, width, 3, 2, nets, shape, shared=not depth),
            _block(width, width, 3, 1, nets, shape),
            *deeper,
            nn.Upsample(scale_factor=2, mode=shape.upsampling),
        )
        self.up = nn.Sequential(
            nn.BatchNorm2d((below + skip) * nets, track_running_stats=False),
            _block(below + skip, width, 3, 1, nets, shape),
            _block(width, width, 1, 1, nets, shape),
        )

    def forward(self, x: Tensor) -> Tensor:
        drawn: Tensor = self.down(x)
        if self.skip is not None:
            drawn = self._side_by_side(self.skip(x), drawn)
        result: Tensor = self.up(drawn)
        return result

    def _side_by_side(self, skipped: Tensor, drawn: Tensor) -> Tensor:
        """The maps of two branches as one, those of each net together."""
        if self.nets == 1:
            return torch.cat((skipped, drawn), 1)
        size = drawn.shape[-2:]
        return torch.cat([part.view(self.nets, -1, *size) for part in (skipped, drawn)], 1).view(1, -1, *size)


def _block(
    inputs: int, outputs: int, kernel: int, stride: int, nets: int, shape: Hourglass, shared: bool = False
) -> nn.Sequential:
    """Convolution, normalisation, activation of N nets; ``shared``: all take the same maps."""
    convolution = nn.Conv2d(
        inputs if shared else inputs * nets,
        outputs * nets,
        kernel,
        stride,
        padding=kernel // 2,
        padding_mode=shape.padding if kernel > 1 else "zeros",
        groups=1 if shared else nets,
        bias=False,
    )
    norm = nn.BatchNorm2d(outputs * nets, track_running_stats=False)
    return nn.Sequential(convolution, norm, _ACTIVATIONS[shape.activation]())


def _draw(convolution: nn.Conv2d, nets: int, generator: torch.Generator) -> None:
    """The same weights for each of the nets, on the CPU, so that every device sees the same."""
    weight = convolution.weight
    bound = 1 / math.sqrt(weight[0].numel())
    for parameter in (weight, convolution.bias):
        if parameter is not None:
            one = parameter.new_empty(len(parameter) // nets, *parameter.shape[1:], device="cpu", dtype=torch.float32)
            one.uniform_(-bound, bound, generator=generator)
            with torch.no_grad():
                parameter.copy_(one.repeat(nets, *[1] * (one.ndim - 1)))
