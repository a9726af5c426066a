"""Random resizing and padding."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.bounds import Fraction, above
from blurnet.checks import check_range, one_of
from blurnet.settings import Settings, takes
from blurnet.transforms._blocks import fill_blocks, prepare, records
from blurnet.transforms.base import Transform

Interpolation = Literal["nearest", "bilinear"]


def resize_pad(
    x: Tensor,
    size: tuple[int, int],
    canvas: tuple[int, int],
    corner: tuple[int, int],
    interpolation: Interpolation = "nearest",
    value: float = 0.0,
) -> Tensor:
    """Resize images to ``size`` and paste them on a canvas of one value.

    Args:
        x: images (N, C, H, W) in [0, 1].
        size: (height, width) after resizing, at most the canvas.
        canvas: (height, width) of the result.
        corner: (top, left) of the image on the canvas.
        interpolation: "nearest" or "bilinear" (centres of pixels aligned).
        value: of the canvas, in [0, 1].

    Returns:
        Images (N, C, *canvas) in [0, 1]; linear in the images.

    Raises:
        TypeError, ValueError: bad images, or an image that leaves the canvas.
    """
    one_of(interpolation, Interpolation, "resize_pad interpolation")
    images = prepare(x, values=False)
    below, beside = (canvas[i] - size[i] - corner[i] for i in (0, 1))
    if min(*size, *(corner[i] + 1 for i in (0, 1)), below + 1, beside + 1) < 1:
        raise ValueError(f"resize_pad: an image of {size} at {corner} leaves the canvas of {canvas}")

    if records(images):
        if not torch.compiler.is_compiling():
            check_range(images)
        resized = F.interpolate(images, size, mode=interpolation)
        return F.pad(resized, (corner[1], beside, corner[0], below), value=value).to(x.dtype)
    rows, columns = (slice(corner[i], corner[i] + size[i]) for i in (0, 1))

    def paste(part: Tensor, target: Tensor) -> None:
        target[..., : rows.start, :], target[..., rows.stop :, :] = value, value
        target[..., : columns.start], target[..., columns.stop :] = value, value
        # What F.interpolate calls, which has no ``out``: straight into the canvas.
        if interpolation == "nearest":
            torch.ops.aten.upsample_nearest2d.out(part, size, out=target[..., rows, columns])
        else:
            torch.ops.aten.upsample_bilinear2d.out(part, size, False, out=target[..., rows, columns])

    return fill_blocks(paste, images, result=torch.Size((x.shape[1], *canvas))).to(x.dtype)


@dataclass(frozen=True)
class RandomResizePadSettings(Settings):
    """Of :class:`RandomResizePad`.

    Args:
        ratio: canvas over smaller size, above 1; the paper's 331 / 299.
        grow: whether the canvas is ``ratio`` times the image, as in the paper, and the result larger than the image;
            or the canvas is the image's size and the image shrinks, for nets that take one size only.
        interpolation: "nearest" (the authors' code) or "bilinear".
        value: of the canvas; the paper pads with zeros, Athalye et al. with 0.5.
        seed: of the draws.
    """

    ratio: Annotated[float, above(1)] = field(default=331 / 299, metadata={"format": ".4g"})
    grow: bool = True
    interpolation: Interpolation = "nearest"
    value: Fraction = 0.0
    seed: int = field(default=0, repr=False)


class RandomResizePad(Transform):
    """Resize to a random size and paste at a random place of a larger canvas.

    The size is drawn evenly between the smaller one and the canvas (the canvas left out, as the paper draws from
    [299, 331)), height and width by the same factor; then the place, evenly over those that fit. The draws are the
    same for all images of a call. Linear, so it is its own surrogate; random, so an attack averages over draws (EoT).

    Args:
        settings: the fields of :class:`RandomResizePadSettings`, as arguments of their own.

    Raises:
        TypeError, ValueError: bad settings.

    Source: Xie et al. 2018, "Mitigating Adversarial Effects Through Randomization".
    """

    differentiable = True
    random = True

    @takes(RandomResizePadSettings)
    def __init__(self, settings: RandomResizePadSettings) -> None:
        super().__init__(settings.seed)
        self.settings = settings

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to (N, C, H', W'), the canvas, in [0, 1]."""
        settings, (height, width) = self.settings, x.shape[-2:]
        canvas = (round(height * settings.ratio), round(width * settings.ratio)) if settings.grow else (height, width)
        factor = 1.0 if settings.grow else 1 / settings.ratio
        shares = torch.rand(3, generator=self.generator(), dtype=torch.float64).tolist()
        rows, columns = (
            _between(max(1, round(side * factor)), end, shares[0])
            for side, end in zip((height, width), canvas, strict=True)
        )
        corner = (int(shares[1] * (canvas[0] - rows + 1)), int(shares[2] * (canvas[1] - columns + 1)))
        return resize_pad(x, (rows, columns), canvas, corner, settings.interpolation, settings.value)


def _between(start: int, end: int, share: float) -> int:
    """An integer from ``start`` to below ``end``, or ``start`` where they are equal."""
    return start + int(share * max(end - start, 1))
