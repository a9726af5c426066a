"""Put modules into any net by the name of a layer."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn


class Inserted(nn.Sequential):
    """A layer of the original net (child "base") with the modules put before or after it, by their class names."""


def insert_after(net: nn.Module, layer: str, *modules: nn.Module) -> nn.Module:
    """Put modules behind a named layer of ``net``, in place, so that they see and replace its output.

    Weights from elsewhere are loaded first, modules inserted second: the layer's keys in the state dict change
    from "conv1.weight" to "conv1.base.weight". A layer that the net calls several times (a shared ReLU) gets its
    modules at every call.

    Args:
        net: any module.
        layer: a name from ``dict(net.named_modules())``, such as "conv1" or "layer1.0.conv2".
        modules: applied in the order given. Several modules at one place are given in one call.

    Returns:
        ``net`` itself.

    Raises:
        KeyError: no such layer; the message lists what there is.
        ValueError: no modules, a list of layers or the net itself in place of a layer, or a second insertion at the
            same place.
    """
    return _replace(net, layer, modules, after=True)


def insert_before(net: nn.Module, layer: str, *modules: nn.Module) -> nn.Module:
    """Put modules in front of a named layer of ``net``, in place; see :func:`insert_after`."""
    return _replace(net, layer, modules, after=False)


def first_conv(net: nn.Module) -> str:
    """The name of a net's first 2-d convolution, in the order in which modules are registered.

    For every torchvision classifier that is also the first convolution to run.

    Raises:
        ValueError: the net has none.
    """
    modules: dict[str, nn.Module] = dict(net.named_modules())
    for name, module in modules.items():
        if isinstance(module, nn.Conv2d):
            return name
    raise ValueError(f"{type(net).__name__} has no nn.Conv2d")


def _replace(net: nn.Module, layer: str, modules: Sequence[nn.Module], *, after: bool) -> nn.Module:
    if not modules:
        raise ValueError(f"no modules given to insert at {layer!r}")
    names = dict(net.named_modules())
    if not layer or layer not in names:
        raise KeyError(f"no layer {layer!r} in {type(net).__name__}; it has: {', '.join(filter(None, names))}")
    base = names[layer]
    if isinstance(base, (nn.ModuleList, nn.ModuleDict)):
        raise ValueError(f"{layer!r} is a {type(base).__name__}, which is never called; name a layer inside it")
    parent_name, _, child = layer.rpartition(".")
    for name in (layer, parent_name):
        if isinstance(names[name], Inserted):
            raise ValueError(f"modules were already inserted at {name!r}; give all of them in one call")
    children = [("base", base)]
    named = list(zip(_child_names(modules), modules, strict=True))
    inserted = Inserted(OrderedDict(children + named if after else named + children))
    inserted.train(base.training)
    setattr(names[parent_name], child, inserted)
    return net


def _child_names(modules: Sequence[nn.Module]) -> list[str]:
    """Class names, numbered from the second of a kind: LearnedLowPass, TotalVariation, TotalVariation_2."""
    seen: dict[str, int] = {}
    names = []
    for module in modules:
        kind = type(module).__name__
        seen[kind] = seen.get(kind, 0) + 1
        names.append(kind if seen[kind] == 1 else f"{kind}_{seen[kind]}")
    return names
