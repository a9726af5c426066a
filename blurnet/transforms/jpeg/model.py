"""A differentiable model of a JPEG codec: colours, subsampling, cosines and quantisation as libjpeg has them."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.bounds import between
from blurnet.bpda import bpda
from blurnet.settings import Settings, takes
from blurnet.spectra import dct_basis
from blurnet.transforms._blocks import prepare
from blurnet.transforms._color import rgb_of_ycbcr, ycbcr

Subsampling = Literal["4:2:0", "4:4:4"]

# Recommendation ITU-T T.81, tables K.1 (luminance) and K.2 (chrominance), row by row.
_LIGHT = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_COLOUR = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99),
    *(47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)


@dataclass(frozen=True)
class JPEGSettings(Settings):
    """Of :func:`blurnet.transforms.jpeg.jpeg.jpeg`.

    Args:
        quality: 1 (smallest file) to 100, scales the standard tables; LGS's paper tries 10 to 80 and compares at 30.
        subsampling: of the colours, "4:2:0" (Pillow's default) or "4:4:4".
    """

    quality: Annotated[int, between(1, 100)] = 75
    subsampling: Subsampling = "4:2:0"


@dataclass(frozen=True)
class JPEGModelSettings(JPEGSettings, owner="JPEG"):
    """Of :func:`jpeg_model`: those of :class:`JPEGSettings` and one more.

    Args:
        rounding: "straight-through" rounds wherever the codec does, with the identity's gradient: the numbers are the
            codec's but for rounding in its integer arithmetic. "cubic" rounds the quantised coefficients only, to
            ``round(c) + (c - round(c))^3``, whose gradient vanishes where a small change of a coefficient changes
            nothing, as in most of the high frequencies.
    """

    rounding: Literal["straight-through", "cubic"] = "straight-through"


@takes(JPEGModelSettings)
def jpeg_model(x: Tensor, settings: JPEGModelSettings) -> Tensor:
    """What a JPEG codec does to images, without the file, and with a gradient.

    Args:
        x: images (N, C, H, W) in [0, 1] with C 1 or 3, any size.
        settings: the fields of :class:`JPEGModelSettings`, as arguments of their own.

    Returns:
        Images (N, C, H, W) in [0, 1].

    Raises:
        TypeError, ValueError: bad images or settings.

    Source: Shin & Song 2017, "JPEG-resistant Adversarial Images" (cubic rounding); ITU-T T.81; libjpeg.
    """
    images = prepare(x)
    check_channels(x)
    with torch.autocast(x.device.type, enabled=False):  # products of 8-bit values need more than half precision
        return _modelled(images, settings.quality, settings.subsampling == "4:2:0", settings.rounding).to(x.dtype)


def check_channels(x: Tensor) -> None:
    """Require one or three channels, as the codec does; ValueError."""
    if x.shape[1] not in (1, 3):
        raise ValueError(f"jpeg: expected 1 or 3 channels, got {tuple(x.shape)}")


def quantization_table(table: tuple[int, ...], quality: int) -> Tensor:
    """A standard table (8, 8) at a quality: libjpeg's scaling, integers from 1 to 255."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return torch.tensor([min(max((entry * scale + 50) // 100, 1), 255) for entry in table]).view(8, 8)


def _modelled(x: Tensor, quality: int, halve: bool, rounding: str) -> Tensor:
    height, width = x.shape[-2:]
    light, colour = (quantization_table(table, quality).to(x) for table in (_LIGHT, _COLOUR))
    pixels = _round(x * 255, rounding)
    if x.shape[1] == 1:
        return _coded(pixels, light, rounding).clamp(0, 255) / 255
    planes = _round(ycbcr(pixels), rounding)
    y, chroma = _coded(planes[:, :1], light, rounding), planes[:, 1:]
    if halve:
        size = (height + height % 2, width + width % 2)
        chroma = _round(F.avg_pool2d(_extended(chroma, *size), 2), rounding)
        # Centred samples between two: weights 3/4 and 1/4, libjpeg's "fancy upsampling".
        chroma = F.interpolate(_coded(chroma, colour, rounding, 128), scale_factor=2, mode="bilinear")
        chroma = _round(chroma[..., :height, :width], rounding)
    else:
        chroma = _coded(chroma, colour, rounding, 128)
    return _round(rgb_of_ycbcr(torch.cat((y, chroma), 1)), rounding).clamp(0, 255) / 255


def _coded(planes: Tensor, table: Tensor, rounding: str, offset: int = 0) -> Tensor:
    """Planes (N, C, H, W) of 8-bit values less ``offset`` through transform, quantisation and back."""
    height, width = planes.shape[-2:]
    extended = _extended(planes, -(-height // 8) * 8, -(-width // 8) * 8) + (offset - 128)
    rows, columns = extended.shape[-2] // 8, extended.shape[-1] // 8
    blocks = extended.reshape(*planes.shape[:2], rows, 8, columns, 8).transpose(-2, -3)
    basis = dct_basis(8, 8, planes).mT.contiguous()
    steps = basis @ blocks @ basis.mT / table
    rounded = bpda(steps.detach().round(), steps) if rounding == "straight-through" else _cubic(steps)
    values = basis.mT @ (rounded * table) @ basis
    back = values.transpose(-2, -3).flatten(-4, -3).flatten(-2)[..., :height, :width]
    return _round(back + 128, rounding).clamp(0, 255) - offset


def _extended(planes: Tensor, height: int, width: int) -> Tensor:
    """The last row and column repeated up to a size."""
    return F.pad(planes, (0, width - planes.shape[-1], 0, height - planes.shape[-2]), mode="replicate")


def _round(values: Tensor, rounding: str) -> Tensor:
    return bpda(values.detach().round(), values) if rounding == "straight-through" else values


def _cubic(values: Tensor) -> Tensor:
    nearest = values.detach().round()
    return nearest + (values - nearest) ** 3
