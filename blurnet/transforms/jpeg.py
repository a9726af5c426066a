"""JPEG compression: the real codec, and a differentiable model of it for the attacker."""

import io
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from blurnet.transforms.base import Transform
from blurnet.transforms.common import prepare, side_by_side
from blurnet.transforms.jpeg_model import Rounding, Subsampling, check_jpeg, jpeg_model

Bytes = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Floats = np.ndarray[tuple[int, ...], np.dtype[np.floating[Any]]]


def jpeg(x: Tensor, quality: int = 75, subsampling: Subsampling = "4:2:0") -> Tensor:
    """Round to 8 bits, compress and decompress with Pillow (libjpeg-turbo), image by image on the CPU.

    The numbers are those of ``Image.save(file, "JPEG", quality=quality)``, bit for bit. It has no gradient:
    :class:`JPEG` takes that of :func:`blurnet.transforms.jpeg_model.jpeg_model`.

    Args:
        x: images (N, C, H, W) in [0, 1] with C 1 or 3, at most 65,500 pixels a side.
        quality: 1 (smallest file) to 100; LGS's paper tries 10 to 80 and compares at 30.
        subsampling: of the colours, "4:2:0" (Pillow's default) or "4:4:4".

    Returns:
        Images (N, C, H, W): multiples of 1 / 255 in [0, 1], on the device and of the dtype of ``x``.

    Raises:
        TypeError, ValueError: bad images or settings.

    Source: Dziugaite et al. 2016; Das et al. 2018; Naseer et al. 2019, Table 1 (JPEG, Pillow).
    """
    check_jpeg(quality, subsampling)
    images = prepare(x.detach())
    _check_channels(x)
    pixels = images.cpu().numpy()
    coded = np.empty(pixels.shape, np.uint8)

    def code(i: int) -> None:
        _code(pixels[i], coded[i], quality, 0 if subsampling == "4:4:4" else 2)

    side_by_side(code, len(pixels))
    return torch.from_numpy(coded).to(x.device).to(images.dtype).div_(255).to(x.dtype)


class JPEG(Transform):
    """:func:`jpeg` as a module; its surrogate is :func:`blurnet.transforms.jpeg_model.jpeg_model`.

    Args:
        quality: 1 to 100.
        subsampling: "4:2:0" or "4:4:4".
        rounding: of the surrogate's coefficients, "straight-through" or "cubic".
    """

    differentiable = False

    def __init__(
        self, quality: int = 75, subsampling: Subsampling = "4:2:0", rounding: Rounding = "straight-through"
    ) -> None:
        super().__init__()
        check_jpeg(quality, subsampling, rounding)
        self.quality, self.subsampling, self.rounding = quality, subsampling, rounding

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to the same."""
        return jpeg(x, self.quality, self.subsampling)

    def surrogate(self, x: Tensor) -> Tensor:
        """The differentiable model."""
        return jpeg_model(x, self.quality, self.subsampling, self.rounding)

    def extra_repr(self) -> str:
        """The arguments, for ``print(net)``."""
        return f"quality={self.quality}, subsampling={self.subsampling!r}, rounding={self.rounding!r}"


def _code(image: Floats, result: Bytes, quality: int, subsampling: Literal[0, 2]) -> None:
    """One image (C, H, W) through a file in memory, channel by channel into ``result``."""
    from PIL import Image

    channels = [Image.fromarray(plane) for plane in np.rint(image * 255).astype(np.uint8)]
    picture = channels[0] if len(channels) == 1 else Image.merge("RGB", channels)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, subsampling=subsampling)
    with Image.open(file) as decoded:
        for plane, channel in zip(result, decoded.split(), strict=True):
            plane[:] = np.frombuffer(channel.tobytes(), np.uint8).reshape(plane.shape)


def _check_channels(x: Tensor) -> None:
    if x.shape[1] not in (1, 3):
        raise ValueError(f"jpeg: expected 1 or 3 channels, got {tuple(x.shape)}")
