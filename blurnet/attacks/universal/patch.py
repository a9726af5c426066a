"""A finished patch: put it on images, keep it in a file, print it."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blurnet.attacks.universal.formats import (
    read_png,
    read_safetensors,
    write_png,
    write_print,
    write_safetensors,
)
from blurnet.attacks.universal.poses import Pose, Poses, layout, place
from blurnet.checks import check_images
from blurnet.files import refuse_pickle


@dataclass(frozen=True, eq=False)
class Patch:
    """A patch as a value.

    Args:
        pixels: (3, h, w) in [0, 1].
        mask: (1, h, w) in [0, 1]: how much of each pixel it covers; its shape.
        target: the class it was made to show; None: any but the right one.
        area: share of the image that its shape covers at scale 1; None: as many image pixels as it has of its own.
        meta: what else is known, text by name, such as the attack that made it.

    Raises:
        TypeError, ValueError: bad pixels, mask, target, area or meta; the message shows what came.
    """

    pixels: Tensor = field(repr=False)
    mask: Tensor = field(repr=False)
    target: int | None = None
    area: float | None = None
    meta: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for name, tensor, channels in (("pixels", self.pixels, 3), ("mask", self.mask, 1)):
            if not isinstance(tensor, Tensor) or tensor.ndim != 3:
                shape = tuple(getattr(tensor, "shape", ())) or type(tensor).__name__
                raise ValueError(f"Patch {name}: expected a tensor ({channels}, h, w), got {shape}")
            check_images(tensor[None], channels=channels, name=f"Patch {name}")
        if self.pixels.shape[1:] != self.mask.shape[1:] or self.pixels.dtype != self.mask.dtype:
            ours, theirs = (f"{t.dtype} {tuple(t.shape)}" for t in (self.pixels, self.mask))
            raise ValueError(f"Patch mask: expected the size and dtype of its pixels, {ours}, got {theirs}")
        if not bool(self.mask.any()):
            raise ValueError("Patch mask: no pixel is set, so the patch would show nowhere")
        _check_facts(self.target, self.area, self.meta)

    def __repr__(self) -> str:
        """``Patch(50x50, target=859, area=0.1)``."""
        height, width = self.mask.shape[-2:]
        return f"Patch({height}x{width}, target={self.target!r}, area={self.area!r})"

    def apply(self, images: Tensor, poses: Poses | Pose | None = None, *, seed: int = 0) -> Tensor:
        """The patch on every image.

        Args:
            images: (N, 3, H, W) in [0, 1].
            poses: what poses it may take, one drawn for each image; None: ``Poses()``. Or one given
                :class:`~blurnet.attacks.universal.poses.Pose` for each image.
            seed: of the draw. An image's pose follows from its own pixels and the seed, so that it is the same in
                every batch.

        Returns:
            Images (N, 3, H, W) in [0, 1]; differentiable in ``images`` and ``pixels``.

        Raises:
            TypeError, ValueError: bad images, or a pose for another number of images.
        """
        check_images(images)
        pixels, mask = self.pixels.to(images), self.mask.to(images)
        if not isinstance(poses, Pose):
            frame = layout(mask, (images.shape[-2], images.shape[-1]), self.area)
            poses = (Poses() if poses is None else poses).drawn_for(images, frame, seed)
        if any(tuple(part.shape) != (len(images),) for part in poses):
            raise ValueError(f"pose: expected fields of shape ({len(images)},), got {[tuple(p.shape) for p in poses]}")
        return place(images, pixels, mask, Pose(*(part.to(images) for part in poses)))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the patch as .safetensors, exact, or as .png, 8 bits a channel with the mask as alpha channel.

        Raises:
            ValueError: another suffix.
        """
        file = Path(path)
        info = {"target": self.target, "area": self.area, "meta": dict(self.meta)}
        writers = {".safetensors": write_safetensors, ".png": write_png}
        if file.suffix.lower() not in writers:
            raise ValueError(f"patch file: expected .safetensors or .png, got {file.name!r}")
        writers[file.suffix.lower()](file, self.pixels.detach(), self.mask.detach(), info)
        return file

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Patch":
        """Read a patch that :meth:`save` wrote, or any PNG (its alpha channel is the mask; no target, no area).

        Raises:
            FileNotFoundError: no such file.
            ValueError: a pickle, another suffix, a damaged file, or one whose content is no patch.
        """
        file = Path(path)
        readers = {".safetensors": read_safetensors, ".png": read_png}
        if file.suffix.lower() not in readers:
            refuse_pickle(file, "save the patch as .safetensors or .png", "patch file")
            raise ValueError(f"patch file: expected .safetensors or .png, got {file.name!r}")
        pixels, mask, info = readers[file.suffix.lower()](file)
        if info and set(info) != {"target", "area", "meta"}:
            raise ValueError(f"{file}: expected target, area and meta, got {sorted(info)}")
        try:
            return cls(pixels, mask, **info)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{file}: {error}") from error

    def export(self, path: str | os.PathLike[str], width_cm: float, dpi: int = 300) -> Path:
        """Write a printable picture of the patch, ``width_cm`` wide, on white; .png or .pdf.

        Print it without scaling ("actual size"). A PDF's page is exactly the patch.

        Raises:
            ValueError: another suffix, or a size that is not positive or too large.
        """
        file = Path(path)
        write_print(file, self.pixels.detach().float(), self.mask.detach().float(), width_cm, dpi)
        return file


def _check_facts(target: Any, area: Any, meta: Any) -> None:
    if target is not None and (type(target) is not int or target < 0):
        raise ValueError(f"Patch target: expected a class from 0 or None, got {target!r}")
    numeric = isinstance(area, int | float) and not isinstance(area, bool)
    if area is not None and not (numeric and math.isfinite(area) and area > 0):
        raise ValueError(f"Patch area: expected a positive share of the image or None, got {area!r}")
    if not isinstance(meta, Mapping) or not all(isinstance(v, str) for pair in meta.items() for v in pair):
        raise ValueError(f"Patch meta: expected text by name, got {meta!r}")


def disc(size: int, sharpness: int = 40) -> Tensor:
    """The round mask of Brown et al., (1, size, size) in [0, 1]: ``1 - min((x^2 + y^2)^sharpness, 1)``.

    x and y run over [-1, 1] at pixel centres. Its edge is soft: the sum is pi/4 of the square less about 2.4 %.

    Source: Brown et al. 2017, notebook.
    """
    t = (torch.arange(size, dtype=torch.float64) + 0.5) / size * 2 - 1
    square = t.square()
    return (1 - (square[:, None] + square).pow(sharpness).clamp(max=1)).float()[None]
