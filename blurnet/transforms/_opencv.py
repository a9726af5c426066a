"""OpenCV's filters where it is installed: on a CPU much faster than torch's operations, with the same numbers."""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from blurnet.transforms._blocks import fill_each, records

_WORTHWHILE = 2**12  # pixels; below, a call costs more than the filter

Array = npt.NDArray[np.float32]
Filter = Callable[[Array, Array], object]


@functools.cache
def opencv() -> ModuleType | None:
    """The library, or None where it is not installed: ``pip install 'blurnet[transforms]'``."""
    try:
        import cv2
    except ImportError:
        return None
    return cv2


def needed(what: str) -> Any:
    """The library for ``what``, or an ImportError that says how to install it."""
    cv2 = opencv()
    if cv2 is None:
        raise ImportError(f"{what} needs OpenCV: pip install 'blurnet[transforms]'")
    return cv2


def filters(x: Tensor) -> Any:
    """The library, where :func:`filter_planes` serves these images, else None.

    It serves images on a CPU in single precision that are large enough, record no gradient and are not traced.
    """
    if records(x):
        return None
    large = x.shape[-2] * x.shape[-1] >= _WORTHWHILE
    return opencv() if large and x.is_cpu and x.dtype is torch.float32 else None


def filter_planes(run: Filter, x: Tensor) -> Tensor:
    """One of OpenCV's filters over every channel alone, on torch's number of threads.

    Args:
        run: ``run(array, target)`` writes the filtered (H, W) array into the target.
        x: images (N, C, H, W) that :func:`filters` takes; checked to be in [0, 1].

    Raises:
        ValueError: as :func:`blurnet.checks.check_range`.
    """

    def fill(image: Tensor, target: Tensor) -> None:
        for plane, out in zip(image.numpy(), target.numpy(), strict=True):
            run(plane, out)

    return fill_each(fill, x.detach().contiguous(), 2**21)


def bytes_of(image: Tensor) -> Tensor:
    """One image (C, H, W) in single precision as bytes (H, W, C), ``(255 x).round()``; faster than by torch."""
    cv2 = needed("bytes_of")
    channels, height, width = image.shape
    planes = cv2.convertScaleAbs(image.reshape(-1, width).numpy(), alpha=255).reshape(channels, height, width)
    return torch.from_numpy(cv2.merge(list(planes))).view(height, width, channels)
