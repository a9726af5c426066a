"""What is run against a model: an attack, its targets, and the model the attack is made on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from blurnet.attacks.universal.rp2 import RP2Result
from blurnet.checks import check_mask

Target = int | None


class TargetedAttack(Protocol):
    """An attack that works on several targets side by side, as :meth:`blurnet.attacks.universal.rp2.RP2.against`."""

    def against(self, model: nn.Module, images: Tensor, labels: Tensor, targets: Sequence[Target]) -> RP2Result:
        """Adversarial images (T, N, 3, H, W) and noise (T, 3, h, w) for T targets."""


@dataclass(frozen=True)
class Campaign:
    """One attack over its targets; ``repr(attack)`` is its line in the report.

    Args:
        name: short name, part of file names: "rp2".
        attack: see :class:`TargetedAttack`; its ``mask``, if any, is part of the campaign's identity.
        targets: classes to reach, one after another; None is untargeted.
        source: the model the attack is made on; None: the evaluated model itself (white-box).
        source_name: what the report calls ``source``; set for every transfer, a replayed noise included.
        chunk: targets attacked side by side in one batch.

    Raises:
        ValueError: no targets, the same one twice, or chunk below 1.
    """

    name: str
    attack: TargetedAttack
    targets: tuple[Target, ...]
    source: nn.Module | None = None
    source_name: str | None = None
    chunk: int = 4

    def __post_init__(self) -> None:
        if not self.targets or len(set(self.targets)) != len(self.targets):
            raise ValueError(f"{self.name}: targets must be given and differ, got {list(self.targets)}")
        if self.chunk < 1:
            raise ValueError(f"{self.name}: chunk must be at least 1 target, got {self.chunk}")

    def chunks(self) -> list[tuple[Target, ...]]:
        """The targets in groups of ``chunk``."""
        return [self.targets[i : i + self.chunk] for i in range(0, len(self.targets), self.chunk)]

    def identity(self, net: nn.Module, *victims: Tensor) -> str:
        """Hex digest of all that the results depend on: attack, models, victims and their grouping."""
        digest = hashlib.sha256(repr((self.name, repr(self.attack), self.chunks())).encode())
        for model in (net, self.source):
            digest.update(fingerprint(model).encode() if model is not None else b"itself")
        for tensor in (*victims, getattr(self.attack, "mask", None), getattr(self.attack, "printable", None)):
            digest.update(tensor_bytes(tensor) if isinstance(tensor, Tensor) else b"none")
        return digest.hexdigest()


@dataclass(frozen=True, repr=False)
class ReplayNoise:
    """A saved noise on the victims: ``clip(x + mask * noise, 0, 1)``, whatever the model.

    Args:
        noise: (T, 3, h, w), one for each target in the campaign's order; resized to the images where it is larger.
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

    def against(self, model: nn.Module, images: Tensor, labels: Tensor, targets: Sequence[Target]) -> RP2Result:
        """The noise on every victim (T, N, 3, H, W); the model is not used."""
        check_mask(self.mask, images[:1])
        noise = self.noise.to(images)[[self.targets.index(target) for target in targets]]
        sticker = noise
        if noise.shape[-2:] != images.shape[-2:]:
            sticker = F.interpolate(noise, images.shape[-2:], mode="bilinear", antialias=True, align_corners=False)
        sticker = sticker * self.mask.to(images).view(1, 1, *images.shape[-2:])
        return RP2Result((images + sticker[:, None]).clamp(0, 1), noise, images.new_zeros(0, len(targets)), noise)


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
    return f"{data.dtype}{tuple(data.shape)}".encode() + data.flatten().view(-1).numpy().tobytes()
