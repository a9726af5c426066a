"""Feature denoising: residual blocks that average feature maps over positions (Xie et al.)."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from blurnet.bounds import Count, Odd
from blurnet.layers.denoise_ops import bilateral, local_mean, local_median, non_local_dot, non_local_gaussian
from blurnet.layers.insert import insert_after
from blurnet.settings import Settings, WithSettings, takes

Operation = Literal["gaussian", "dot", "bilateral-gaussian", "bilateral-dot", "mean", "median", "none"]

#: Operations that weigh positions by their likeness, and can compare embeddings instead of the maps.
_WEIGHTED = ("gaussian", "dot", "bilateral-gaussian", "bilateral-dot")


@dataclass(frozen=True)
class DenoiseSettings(Settings):
    """Of a :class:`FeatureDenoise` besides its channels.

    Args:
        operation: "gaussian" (softmax of products over all positions) or "dot" (products over all positions);
            "bilateral-gaussian" or "bilateral-dot", the same over a window; "mean" or "median" of a window; "none",
            the ablation: convolution and residual connection alone.
        embed: compare 1 x 1 convolutions of the maps to ``channels / 2``, two of their own, instead of the maps;
            "mean", "median" and "none" compare nothing.
        kernel_size: odd side of the window in pixels, of the operations that have one.
    """

    operation: Operation = "gaussian"
    embed: bool = True
    kernel_size: Odd = 3


@dataclass(frozen=True)
class _Channels(Settings):
    channels: Count


@dataclass(frozen=True)
class FeatureDenoiseSettings(DenoiseSettings, _Channels):  # the fields of the last base come first
    """Of :class:`FeatureDenoise`: the channels of the maps, then those of :class:`DenoiseSettings`."""


class FeatureDenoise(WithSettings, nn.Module):
    """``y = x + norm(conv(op(x)))``: a denoising operation, a 1 x 1 convolution, a residual connection.

    The batch normalisation begins with weight and bias 0, so that a block that was just inserted is the identity, bit
    for bit. Input and output: (N, channels, H, W), any range.

    Args:
        settings: the fields of :class:`FeatureDenoiseSettings`, as arguments of their own.

    Raises:
        TypeError, ValueError: unknown operation, even window, or no channels.

    Source: Xie et al. 2019, "Feature Denoising for Improving Adversarial Robustness", sections 3 and 4, and their
    code. Its mean and median have a 3 x 3 window; at borders only positions on the map count, and the median, for
    which the paper states no rule, repeats the border.
    """

    embed: bool

    @takes(FeatureDenoiseSettings)
    def __init__(self, settings: FeatureDenoiseSettings) -> None:
        super().__init__()
        self.settings, channels = settings, settings.channels
        self.embed = settings.embed and settings.operation in _WEIGHTED
        if self.embed:
            self.theta, self.phi = _embedding(channels), _embedding(channels)
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Denoise maps (N, channels, H, W)."""
        residual: Tensor = self.norm(self.conv(self.denoise(x)))
        return x + residual

    def denoise(self, x: Tensor) -> Tensor:
        """The operation alone on maps (N, channels, H, W)."""
        operation, kernel_size = self.settings.operation, self.settings.kernel_size
        if operation in _WEIGHTED:
            query, key = (self.theta(x), self.phi(x)) if self.embed else (x, x)
            return self._weighted(query, key, x)
        if operation == "mean":
            return local_mean(x, kernel_size)
        return local_median(x, kernel_size) if operation == "median" else x

    def _weighted(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        operation = self.settings.operation
        if operation == "gaussian":
            return non_local_gaussian(query, key, value)
        if operation == "dot":
            return non_local_dot(query, key, value)
        return bilateral(query, key, value, self.settings.kernel_size, softmax=operation == "bilateral-gaussian")

    def extra_repr(self) -> str:
        """The settings, for ``print(net)``."""
        return f"{self.settings.channels}, {self.shown('channels')}"


@dataclass(frozen=True)
class _Every(Settings):
    every: bool = False


@dataclass(frozen=True)
class DenoiseResNetSettings(DenoiseSettings, _Every):  # the field of the last base comes first
    """Of :func:`denoise_resnet`: one setting, then those of :class:`DenoiseSettings` for each block.

    Args:
        every: a block after each residual block (the paper's ResNeXt-101, with ``operation="dot", embed=False``)
            instead of one after the last block of each stage (the paper's ResNet-152). LISA-CNN has no residual
            blocks: there the places are behind the first two ReLUs, whose maps are 16 and 6 pixels wide, and with
            ``every`` behind the third too, where 2 x 2 positions are left.
    """


@takes(DenoiseResNetSettings)
def denoise_resnet(net: nn.Module, settings: DenoiseResNetSettings) -> nn.Module:
    """Insert :class:`FeatureDenoise` into a ResNet, ResNeXt or LISA-CNN, in place; load foreign weights first.

    Args:
        net: a net with ``layer1`` to ``layer4``, such as torchvision's, or one that holds it, such as
            :func:`~blurnet.nets.vision.torchvision_net`; or a :class:`~blurnet.nets.lisa_cnn.LisaCNN`.
        settings: the fields of :class:`DenoiseResNetSettings`, as arguments of their own.

    Returns:
        ``net`` itself, which gives the same answers as before until it is trained.

    Raises:
        TypeError, ValueError: another net, a bad argument, or a second insertion at the same place.

    Source: Xie et al. 2019, section 6.
    """
    for place, channels in denoise_places(net, settings.every).items():
        block = FeatureDenoise(channels, settings.operation, settings.embed, settings.kernel_size)
        insert_after(net, place, block)
    return net


def denoise_places(net: nn.Module, every: bool = False) -> dict[str, int]:
    """Where :func:`denoise_resnet` puts blocks: layer names with the channels of their maps.

    Raises:
        ValueError: neither a ResNet nor a LISA-CNN.
    """
    for name, module in net.named_modules():
        prefix = f"{name}." if name else ""
        children = dict(module.named_children())
        if all(isinstance(children.get(f"layer{i}"), nn.Sequential) for i in range(1, 5)):
            stages = {f"{prefix}layer{i}": children[f"layer{i}"] for i in range(1, 5)}
            return {k: v for stage, blocks in stages.items() for k, v in _blocks(stage, blocks, every).items()}
        if {"conv1", "relu1", "conv2", "relu2", "conv3", "relu3"} <= set(children):
            return {f"{prefix}relu{i}": _channels(children[f"conv{i}"]) for i in ((1, 2, 3) if every else (1, 2))}
    raise ValueError(f"{type(net).__name__}: expected a net with layer1 to layer4 (a ResNet), or a LisaCNN")


def _blocks(stage: str, blocks: nn.Module, every: bool) -> dict[str, int]:
    """The residual blocks of a stage, or its last one, with their channels."""
    found = {f"{stage}.{name}": _channels(block) for name, block in blocks.named_children()}
    return found if every else dict(list(found.items())[-1:])


def _channels(block: nn.Module) -> int:
    """Outputs of a block's last convolution; in a residual block the shortcut's, where there is one, has as many."""
    convolutions = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
    if not convolutions:
        raise ValueError(f"{type(block).__name__} has no nn.Conv2d, from which to know its channels")
    return convolutions[-1].out_channels


def _embedding(channels: int) -> nn.Conv2d:
    embedding = nn.Conv2d(channels, max(1, channels // 2), 1, bias=False)
    nn.init.normal_(embedding.weight, std=0.01)
    return embedding
