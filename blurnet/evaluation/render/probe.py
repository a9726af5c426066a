"""First-layer feature maps of any net, before and after its defense."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from blurnet.layers.insert import Inserted, first_conv
from blurnet.transforms.base import Transform


class FirstLayer(NamedTuple):
    """Maps (N, K, H, W) of the first layer."""

    name: str  #: of the module
    before: Tensor  #: before the defense
    after: Tensor | None  #: behind the defense; None where the net has none there that changes the maps

    @property
    def seen(self) -> Tensor:
        """What the rest of the net sees."""
        return self.before if self.after is None else self.after


def first_layer(net: nn.Module, images: Tensor) -> FirstLayer:
    """The first layer's maps for images (N, 3, H, W) in [0, 1].

    With modules inserted at a layer, the maps that enter and leave them. With defenses in front of the net (see
    :func:`blurnet.zoo.build.build` and :func:`blurnet.transforms.base.defend`), the first convolution's maps without
    and with them. Otherwise the maps of the first convolution.
    """
    for name, module in net.named_modules():
        if isinstance(module, Inserted):
            before, after = _around(net, module, images)
            if before.ndim == 4 and before.shape == after.shape:
                return _layer(f"{name}.base", before, after)
    inner = _undefended(net)
    name = first_conv(inner)
    conv = inner.get_submodule(name)
    (before,) = _record(inner, images, output_of(conv))
    if inner is net:
        return FirstLayer(name, before, None)
    (after,) = _record(net, images, output_of(conv))
    return _layer(name, before, after)


def _undefended(net: nn.Module) -> nn.Module:
    """The net behind the defenses in front of it; itself where it has none."""
    while isinstance(net, nn.Sequential) and len(net) and (hasattr(net, "net") or isinstance(net[0], Transform)):
        net = net[-1]
    return net


Hook = Callable[[list[Tensor]], Any]


def output_of(module: nn.Module) -> Hook:
    """A recorder of what a module gives."""
    return lambda found: module.register_forward_hook(lambda _, __, output: found.append(output.detach()))


def input_of(module: nn.Module) -> Hook:
    """A recorder of what a module takes."""
    return lambda found: module.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].detach()))


def _around(net: nn.Module, inserted: Inserted, images: Tensor) -> tuple[Tensor, Tensor]:
    base = inserted.get_submodule("base")
    behind = next(iter(inserted.children())) is base
    before, after = (output_of(base), output_of(inserted)) if behind else (input_of(inserted), input_of(base))
    first, second = _record(net, images, before, after)
    return first, second


def _record(net: nn.Module, images: Tensor, *hooks: Hook) -> list[Tensor]:
    found: list[list[Tensor]] = [[] for _ in hooks]
    handles = [hook(kept) for hook, kept in zip(hooks, found, strict=True)]
    try:
        with torch.no_grad():
            net(images)
    finally:
        for handle in handles:
            handle.remove()
    return [kept[0] for kept in found]


def _layer(name: str, before: Tensor, after: Tensor) -> FirstLayer:
    # Penalties are identities: there is nothing to compare.
    return FirstLayer(name, before, None if torch.equal(before, after) else after)
