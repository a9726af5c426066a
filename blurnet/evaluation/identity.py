"""What results depend on, as one hash: attacks with all they hold, images, models."""

import dataclasses
import hashlib
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


def identity(*values: Any) -> str:
    """Hex digest of values: tensors and modules by content, dataclasses by their fields, the rest by repr."""
    digest = hashlib.sha256()
    for part in _parts(values):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def modules_of(value: Any) -> list[nn.Module]:
    """The modules that an attack holds at any depth, such as the source of a transfer."""
    if isinstance(value, nn.Module):
        return [value]
    return [module for inner in _inside(value) for module in modules_of(inner)]


def _parts(value: Any) -> Iterator[bytes]:
    if isinstance(value, Tensor):
        yield tensor_bytes(value)
    elif isinstance(value, nn.Module):
        yield fingerprint(value).encode()
    elif inside := _inside(value):
        yield f"{type(value).__qualname__}({len(inside)})".encode()
        for inner in inside:
            yield from _parts(inner)
    else:
        # An address in memory differs from run to run.
        yield re.sub(r" at 0x[0-9a-f]+", "", repr(value)).encode()


def _inside(value: Any) -> list[Any]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    if isinstance(value, dict):
        return [item for pair in value.items() for item in pair]
    return list(value) if isinstance(value, tuple | list) else []


def fingerprint(net: nn.Module) -> str:
    """Hex digest of a module's structure and weights (constants outside the state dict show in its repr)."""
    digest = hashlib.sha256(repr(net).encode())
    for key, value in net.state_dict().items():
        digest.update(key.encode())
        digest.update(tensor_bytes(value))
    return digest.hexdigest()


def tensor_bytes(tensor: Tensor) -> bytes:
    """Kind, shape and values of a tensor, for hashing."""
    data = tensor.detach().cpu().contiguous()
    return f"{data.dtype}{tuple(data.shape)}".encode() + data.flatten().view(torch.uint8).numpy().tobytes()
