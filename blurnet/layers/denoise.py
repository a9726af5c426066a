"""Feature denoising: residual blocks that average feature maps over positions (Xie et al.)."""

from typing import Literal, get_args

from torch import Tensor, nn

from blurnet.checks import check_odd
from blurnet.layers.denoise_ops import bilateral, local_mean, local_median, non_local_dot, non_local_gaussian
from blurnet.layers.insert import insert_after

Operation = Literal["gaussian", "dot", "bilateral-gaussian", "bilateral-dot", "mean", "median", "none"]

#: Operations that weigh positions by their likeness, and can compare embeddings instead of the maps.
_WEIGHTED = ("gaussian", "dot", "bilateral-gaussian", "bilateral-dot")


class FeatureDenoise(nn.Module):
    """``y = x + norm(conv(op(x)))``: a denoising operation, a 1 x 1 convolution, a residual connection.

    The batch normalisation begins with weight and bias 0, so that a block that was just inserted is the identity, bit
    for bit. Input and output: (N, channels, H, W), any range.

    Args:
        channels: of the maps.
        operation: "gaussian" (softmax of products over all positions) or "dot" (products over all positions);
            "bilateral-gaussian" or "bilateral-dot", the same over a window; "mean" or "median" of a window; "none",
            the ablation: convolution and residual connection alone.
        embed: compare 1 x 1 convolutions of the maps to ``channels / 2``, two of their own, instead of the maps;
            "mean", "median" and "none" compare nothing.
        kernel_size: odd side of the window in pixels, of the operations that have one.

    Raises:
        ValueError: unknown operation, even window, or no channels.

    Source: Xie et al. 2019, "Feature Denoising for Improving Adversarial Robustness", sections 3 and 4, and their
    code. Its mean and median have a 3 x 3 window; at borders only positions on the map count, and the median, for
    which the paper states no rule, repeats the border.
    """

    def __init__(
        self, channels: int, operation: Operation = "gaussian", embed: bool = True, kernel_size: int = 3
    ) -> None:
        super().__init__()
        if operation not in get_args(Operation):
            raise ValueError(f"operation: expected one of {list(get_args(Operation))}, got {operation!r}")
        if channels < 1:
            raise ValueError(f"channels: expected at least 1, got {channels!r}")
        check_odd(kernel_size)
        self.channels, self.operation, self.kernel_size = channels, operation, kernel_size
        self.embed = embed and operation in _WEIGHTED
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
        if self.operation in _WEIGHTED:
            query, key = (self.theta(x), self.phi(x)) if self.embed else (x, x)
            return self._weighted(query, key, x)
        if self.operation == "mean":
            return local_mean(x, self.kernel_size)
        return local_median(x, self.kernel_size) if self.operation == "median" else x

    def _weighted(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if self.operation == "gaussian":
            return non_local_gaussian(query, key, value)
        if self.operation == "dot":
            return non_local_dot(query, key, value)
        return bilateral(query, key, value, self.kernel_size, softmax=self.operation == "bilateral-gaussian")

    def extra_repr(self) -> str:
        """The arguments, for ``print(net)``."""
        return f"{self.channels}, operation={self.operation!r}, embed={self.embed}, kernel_size={self.kernel_size}"


def denoise_resnet(
    net: nn.Module,
    every: bool = False,
    *,
    operation: Operation = "gaussian",
    embed: bool = True,
    kernel_size: int = 3,
) -> nn.Module:
    """Insert :class:`FeatureDenoise` into a ResNet, ResNeXt or LISA-CNN, in place; load foreign weights first.

    Args:
        net: a net with ``layer1`` to ``layer4``, such as torchvision's, or one that holds it, such as
            :func:`~blurnet.nets.vision.torchvision_net`; or a :class:`~blurnet.nets.lisa_cnn.LisaCNN`.
        every: a block after each residual block (the paper's ResNeXt-101, with ``operation="dot", embed=False``)
            instead of one after the last block of each stage (the paper's ResNet-152). LISA-CNN has no residual
            blocks: there the places are behind the first two ReLUs, whose maps are 16 and 6 pixels wide, and with
            ``every`` behind the third too, where 2 x 2 positions are left.
        operation, embed, kernel_size: of each block, see :class:`FeatureDenoise`.

    Returns:
        ``net`` itself, which gives the same answers as before until it is trained.

    Raises:
        ValueError: another net, a bad argument, or a second insertion at the same place.

    Source: Xie et al. 2019, section 6.
    """
    for place, channels in denoise_places(net, every).items():
        insert_after(net, place, FeatureDenoise(channels, operation, embed, kernel_size))
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
