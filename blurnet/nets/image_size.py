"""The size of the images a net is made for."""

from torch import nn


def image_size(net: nn.Module) -> tuple[int, int] | None:
    """(H, W) in pixels that a net states of itself; None where it states nothing.

    The first of its modules that says so decides: by ``image_size``, as the nets of this package and what
    ``load_model`` gives, or by timm's ``default_cfg``.
    """
    for module in net.modules():
        size = getattr(module, "image_size", None)
        if isinstance(size, int):
            return (size, size)
        if isinstance(size, tuple):
            return size
        if isinstance(config := getattr(module, "default_cfg", None), dict) and "input_size" in config:
            height, width = config["input_size"][1:]
            return int(height), int(width)
    return None
