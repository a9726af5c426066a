"""Published patches as an input format: the ten of ImageNet-Patch, after one conversion by their user."""

import os
from pathlib import Path

import torch
from torch import Tensor

from blurnet.attacks.universal.patch import Patch
from blurnet.attacks.universal.poses import Poses
from blurnet.files import read_tensors, refuse_pickle

#: Sides in pixels of ImageNet-Patch: each patch lies in the middle of a black canvas of an image's size.
SIDE, CANVAS = 50, 224

#: The random affine maps of ImageNet-Patch's example: turned by up to 45 degrees, shrunk to 0.7 at least, moved from
#: the centre by up to a fifth of the image. Here every image has its own draw and the warp is bilinear; the example
#: has one nearest-pixel map for a batch.
IMAGENET_PATCH_POSES = Poses(rotation=45.0, scale=(0.7, 1.0), where=(0.5, 0.5), shift=(0.2, 0.2))

#: Run once by whoever trusts the file: makes the safetensors that :func:`load_imagenet_patch` reads.
CONVERT = """\
import gzip, pickle, torch; from safetensors.torch import save_file
patches, targets, info = pickle.load(gzip.open({source!r}))
save_file({{"patches": torch.stack(list(patches)), "targets": torch.tensor([int(t) for t in targets])}}, {target!r})
"""


def load_imagenet_patch(path: str | os.PathLike[str]) -> tuple[Patch, ...]:
    """The patches of ImageNet-Patch from a converted file, usually ten, each with its ImageNet target.

    Upstream they are ``assets/imagenet_patch.gz``, a compressed pickle of (patches, targets, info). A pickle can run
    code, and the tensors inside it are beyond ``torch.load(weights_only=True)`` too, so it is refused with the lines
    that convert it (:data:`CONVERT`).

    Args:
        path: a safetensors file with "patches", (P, 3, 50, 50) or on their canvas (P, 3, 224, 224), in [0, 1], and
            "targets", (P,) integers. What exceeds [0, 1] by less than 0.001 is rounding and is clipped.

    Returns:
        Square patches of 50 x 50 pixels, each (50 / 224)^2 = 5 % of an image of any size. Put them on images as
        published by ``patch.apply(images, IMAGENET_PATCH_POSES)``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a pickle, a damaged file, or other tensors, shapes, kinds or values than these.

    Source: Pintor et al. 2022 and pralab/ImageNet-Patch, ``transforms/apply_patch.py`` and ``example.py``.
    """
    file = Path(path)
    converted = str(file.with_suffix(".safetensors"))
    code = CONVERT.format(source=str(file), target=converted)
    refuse_pickle(
        file, f"if you trust where it comes from, convert it once and load {converted!r}:\n{code}", "patch file"
    )
    tensors, _ = read_tensors(file, "patch file")
    if set(tensors) != {"patches", "targets"}:
        raise ValueError(f"{file}: expected the tensors 'patches' and 'targets', got {sorted(tensors)}")
    patches, targets = _pixels(tensors["patches"], file), tensors["targets"]
    if targets.is_floating_point() or targets.dtype == torch.bool or tuple(targets.shape) != (len(patches),):
        raise ValueError(
            f"{file}: targets: expected {len(patches)} integers, got {targets.dtype} {list(targets.shape)}"
        )
    if int(targets.min()) < 0:
        raise ValueError(f"{file}: targets: expected classes from 0, got {targets.tolist()}")
    mask, area = torch.ones(1, SIDE, SIDE), (SIDE / CANVAS) ** 2
    meta = {"source": "ImageNet-Patch (Pintor et al. 2022)"}
    return tuple(Patch(p, mask, int(t), area, meta) for p, t in zip(patches, targets, strict=True))


def _pixels(patches: Tensor, file: Path) -> Tensor:
    """The patches without their canvas, (P, 3, 50, 50) float32 in [0, 1]."""
    shapes = [(len(patches), 3, side, side) for side in (SIDE, CANVAS)] if patches.ndim else []
    if not patches.is_floating_point() or tuple(patches.shape) not in shapes or len(patches) == 0:
        raise ValueError(
            f"{file}: patches: expected floats (P, 3, {SIDE}, {SIDE}) or (P, 3, {CANVAS}, {CANVAS}), "
            f"got {patches.dtype} {list(patches.shape)}"
        )
    edge = (patches.shape[-1] - SIDE) // 2
    inner = patches[..., edge : edge + SIDE, edge : edge + SIDE].float()
    low, high = (float(v) for v in torch.aminmax(inner))
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        raise ValueError(f"{file}: patches: expected pixels in [0, 1], got [{low:g}, {high:g}]")
    return inner.clamp(0, 1)
