"""How an attack asks a model: in the caller's precision, counted, with answers in float32 at least."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

#: Images (N, 3, H, W) in [0, 1] to logits (N, classes).
Model = Callable[[Tensor], Tensor]

_HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Precision:
    """How a caller computes: the model is asked in its way, everything else is float32 at least.

    Args:
        dtype: of the images that the model is given; None: as they come.
        autocast: the dtype of the caller's autocast; None: it has none.
    """

    dtype: torch.dtype | None = None
    autocast: torch.dtype | None = None

    @classmethod
    @contextmanager
    def of(cls, images: Tensor) -> "Iterator[Precision]":
        """The caller's precision; inside, autocast is off."""
        device = images.device.type
        autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        with torch.autocast(device, enabled=False):
            yield cls(images.dtype if images.dtype in _HALF else None, autocast)


class Counted:
    """A model as an attack asks it: counts the images it is shown, answers in float32 at least."""

    def __init__(self, model: Model, precision: Precision = Precision()) -> None:
        self.model, self.precision, self.seen = model, precision, 0

    def __call__(self, x: Tensor) -> Tensor:
        """Logits (N, classes)."""
        self.seen += len(x)
        x = x if self.precision.dtype is None else x.to(self.precision.dtype)
        if self.precision.autocast is None:
            return at_least_float32(self.model(x))
        with torch.autocast(x.device.type, self.precision.autocast):
            return at_least_float32(self.model(x))


def at_least_float32(x: Tensor) -> Tensor:
    """A tensor of half precision as float32; all else as it is."""
    return x.float() if isinstance(x, Tensor) and x.dtype in _HALF else x
