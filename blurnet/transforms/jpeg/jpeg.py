"""JPEG compression: the real codec, and a differentiable model of it for the attacker."""

import functools
import io
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from blurnet.settings import takes
from blurnet.transforms._blocks import fill_each, prepare
from blurnet.transforms._opencv import bytes_of, opencv
from blurnet.transforms.base import Transform
from blurnet.transforms.jpeg.model import JPEGModelSettings, JPEGSettings, Subsampling, check_channels, jpeg_model


@takes(JPEGSettings)
def jpeg(x: Tensor, settings: JPEGSettings) -> Tensor:
    """Round to 8 bits, compress and decompress with Pillow (libjpeg-turbo), image by image on the CPU.

    The numbers are those of ``Image.save(file, "JPEG", quality=quality)``, bit for bit. It has no gradient:
    :class:`JPEG` takes that of :func:`blurnet.transforms.jpeg.model.jpeg_model`.

    Args:
        x: images (N, C, H, W) in [0, 1] with C 1 or 3, at most 65,500 pixels a side.
        settings: the fields of :class:`~blurnet.transforms.jpeg.model.JPEGSettings`, as arguments of their own.

    Returns:
        Images (N, C, H, W): multiples of 1 / 255 in [0, 1], on the device and of the dtype of ``x``.

    Raises:
        TypeError, ValueError: bad images or settings.

    Source: Dziugaite et al. 2016; Das et al. 2018; Naseer et al. 2019, Table 1 (JPEG, Pillow).
    """
    images = prepare(x.detach(), values=False).cpu()
    check_channels(x)

    def code(image: Tensor, out: Tensor) -> None:
        torch.div(_coded(_pixels(image), settings.quality, settings.subsampling), 255, out=out)

    coded = fill_each(code, images, 2**17)
    return coded.to(x.device).to(x.dtype)


class JPEG(Transform):
    """:func:`jpeg` as a module; its surrogate is :func:`blurnet.transforms.jpeg.model.jpeg_model`.

    Args:
        settings: the fields of :class:`~blurnet.transforms.jpeg.model.JPEGModelSettings`, as arguments of their own;
            ``rounding`` is the surrogate's.
    """

    differentiable = False

    @takes(JPEGModelSettings)
    def __init__(self, settings: JPEGModelSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to the same."""
        return jpeg(x, self.settings)

    def surrogate(self, x: Tensor) -> Tensor:
        """The differentiable model."""
        return jpeg_model(x, self.settings)


def _pixels(image: Tensor) -> Tensor:
    """Bytes (H, W, C) of an image (C, H, W): codecs take the channels of a pixel side by side."""
    if opencv() is not None and image.dtype is torch.float32:
        return bytes_of(image)
    pixels = torch.empty(*image.shape[1:], image.shape[0], dtype=torch.uint8)
    for i, channel in enumerate((image * 255).round_().unbind()):  # the fastest way for torch
        pixels[..., i].copy_(channel)
    return pixels


def _coded(pixels: Tensor, quality: int, subsampling: Subsampling) -> Tensor:
    """Bytes (H, W, C) through a file in memory to bytes (C, H, W)."""
    codec = _fast_codec() if subsampling == "4:2:0" else None  # it has no other
    return codec(pixels.movedim(-1, 0), quality) if codec else _by_pillow(pixels, quality, subsampling)


@functools.cache
def _fast_codec() -> Callable[[Tensor, int], Tensor] | None:
    """The codec (libjpeg-turbo, too) as operators of torchvision: outside of Python's lock, so that threads pay.

    torchvision 0.29 says that it will give them up: without them Pillow has the same numbers.
    """
    try:
        import torchvision.io  # noqa: F401  registers the operators

        encode, decode = torch.ops.image.encode_jpeg.default, torch.ops.image.decode_jpeg.default
        probe = torch.arange(192, dtype=torch.uint8).view(3, 8, 8)
        decode(encode(probe, 75), 0, False)
    except (ImportError, AttributeError, RuntimeError):
        return None
    return lambda values, quality: decode(encode(values, quality), 0, False)


def _by_pillow(values: Tensor, quality: int, subsampling: Subsampling) -> Tensor:
    """Bytes (H, W, C) to bytes (C, H, W)."""
    from PIL import Image

    file = io.BytesIO()
    picture = Image.fromarray(values.squeeze(-1).numpy())
    picture.save(file, "JPEG", quality=quality, subsampling=0 if subsampling == "4:4:4" else 2)
    with Image.open(file) as decoded:
        return torch.from_numpy(np.array(decoded)).view_as(values).movedim(-1, 0)
