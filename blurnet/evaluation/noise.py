"""A saved noise, put on images as it is: how a sticker made elsewhere does on this model."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from blurnet.attacks.engine.asking import Model
from blurnet.attacks.universal.rp2 import RP2Result
from blurnet.checks import check_mask
from blurnet.evaluation.identity import tensor_bytes
from blurnet.files import read_safetensors

Target = int | None


@dataclass(frozen=True, repr=False)
class ReplayNoise:
    """A saved noise on the victims: ``clip(x + mask * noise, 0, 1)``, whatever the model.

    Args:
        noise: (T, 3, h, w), one for each target in order; resized to the images where it is larger.
        mask: (H, W) or (1, 1, H, W), zeros and ones.
        origin: where it comes from, for the report.
        targets: the classes the noises were made for.

    Raises:
        ValueError: other shapes, NaN or infinite values.
    """

    noise: Tensor
    mask: Tensor
    origin: str
    targets: tuple[Target, ...]

    def __post_init__(self) -> None:
        if self.noise.ndim != 4 or self.noise.shape[:2] != (len(self.targets), 3):
            raise ValueError(f"noise must be ({len(self.targets)}, 3, h, w), got {tuple(self.noise.shape)}")
        if not bool(self.noise.isfinite().all()):
            raise ValueError(f"the noise of {self.origin} has NaN or infinite values")

    def __repr__(self) -> str:
        content = hashlib.sha256(tensor_bytes(self.noise)).hexdigest()[:16]
        return f"ReplayNoise(origin={self.origin!r}, sha256={content!r}, targets={self.targets})"

    def against(self, model: Model, images: Tensor, labels: Tensor, targets: Sequence[Target]) -> RP2Result:
        """The noise on every victim (T, N, 3, H, W); the model is not used."""
        check_mask(self.mask, images[:1])
        noise = self.noise.to(images)[[self.targets.index(target) for target in targets]]
        sticker = noise
        if noise.shape[-2:] != images.shape[-2:]:
            sticker = F.interpolate(noise, images.shape[-2:], mode="bilinear", antialias=True, align_corners=False)
        sticker = sticker * self.mask.to(images).view(1, 1, *images.shape[-2:])
        return RP2Result((images + sticker[:, None]).clamp(0, 1), noise, images.new_zeros(0, len(targets)), noise)


def read_noise(text: str, target: Target, mask: Tensor) -> ReplayNoise:
    """A saved noise (3, h, w) from "FILE" or "FILE:KEY" (safetensors), made for ``target``; None: untargeted."""
    file, _, key = text.partition(":")
    tensors = read_safetensors(file)
    keys = [key] if key else [name for name in tensors if name.startswith("noise")]
    if len(keys) != 1 or keys[0] not in tensors:
        raise ValueError(f"--noise: {file} holds {', '.join(sorted(tensors))}; write {file}:KEY with one of them")
    noise, name = tensors[keys[0]], f"{Path(file).name}:{keys[0]}"
    return ReplayNoise(noise[None] if noise.ndim == 3 else noise, mask, name, (target,))
