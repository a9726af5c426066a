"""What an attack on single images may change, as values that judge its result: no attack is taken at its word."""

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from blurnet.balls import Ball
from blurnet.checks import check_mask
from blurnet.masks import grid_boxes, mask_boxes, patch_side

#: The text of :class:`Nearest`, by which reports know it again.
NEAREST = "the whole image at any distance, as little as fools"


class Threat(Protocol):
    """A set of images around each clean one. Equal texts mean equal threats."""

    @property
    def text(self) -> str:
        """One line for the report."""

    @property
    def local(self) -> bool:
        """Whether changes lie in one place, so that the place is worth reporting."""

    def broken(self, clean: Tensor, adversarial: Tensor) -> Tensor:
        """Images (N, 3, H, W) whose adversarial version is not allowed, (N,) bool."""

    def patches(self, size: tuple[int, int]) -> Tensor | None:
        """All that may be changed of images of (H, W) pixels: patches (P, R, 4), each of R boxes that are changed at
        once, for :meth:`~blurnet.certified.base.CertifiedModel.covers`; None: the whole image.
        """


@dataclass(frozen=True)
class SquarePatch:
    """One square of a share ``area`` of the image, anywhere, with any pixels.

    Raises:
        ValueError: area outside (0, 1].
    """

    area: float

    def __post_init__(self) -> None:
        if not 0 < self.area <= 1:
            raise ValueError(f"patch: expected a share of the image above 0 and at most 1, got {self.area!r}")

    @property
    def text(self) -> str:
        """One line for the report."""
        return f"one square patch of {100 * self.area:g} % of the image, anywhere"

    @property
    def local(self) -> bool:
        """A patch has a place."""
        return True

    def broken(self, clean: Tensor, adversarial: Tensor) -> Tensor:
        """Images whose changes do not fit into one such square, (N,) bool."""
        height, width = clean.shape[-2:]
        side = patch_side((height, width), self.area)
        top, bottom, left, right = changed_box(clean, adversarial).unbind(1)
        return (bottom - top > side) | (right - left > side)

    def patches(self, size: tuple[int, int]) -> Tensor:
        """The square at each of its places."""
        return grid_boxes(size, patch_side(size, self.area))[:, None]


@dataclass(frozen=True)
class InMask:
    """Any pixels inside a mask (1, 1, H, W) of zeros and ones, the same for every image."""

    name: str
    mask: Tensor = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        """One line for the report."""
        return f"inside the mask {self.name} ({100 * float(self.mask.float().mean()):.1f} % of the image)"

    @property
    def local(self) -> bool:
        """A mask may have several parts, and its place is known."""
        return False

    def broken(self, clean: Tensor, adversarial: Tensor) -> Tensor:
        """Images changed outside the mask, (N,) bool."""
        check_mask(self.mask, clean[:1], f"mask {self.name}")
        outside = self.mask.to(clean.device) == 0
        return (_changed(clean, adversarial) & outside.view(1, *clean.shape[-2:])).flatten(1).any(1)

    def patches(self, size: tuple[int, int]) -> Tensor:
        """One patch, of all rows of pixels of the mask."""
        on = torch.nn.functional.pad(self.mask.view(*size).cpu().int(), (1, 1))
        edges = on.diff(dim=1)
        row, left = (edges > 0).nonzero().unbind(1)
        _, right = (edges < 0).nonzero().unbind(1)
        return torch.stack([row, row + 1, left, right], 1)[None]


@dataclass(frozen=True)
class InBall:
    """Every pixel, by as much as a ball allows."""

    ball: Ball

    @property
    def text(self) -> str:
        """One line for the report."""
        radius = self.ball.radius
        value = f"{255 * radius:g}/255" if self.ball.norm == "linf" else f"{radius:g}"
        return f"the whole image, {self.ball.norm} at most {value}"

    @property
    def local(self) -> bool:
        """The whole image may change."""
        return False

    def broken(self, clean: Tensor, adversarial: Tensor) -> Tensor:
        """Images outside the ball, (N,) bool."""
        return ~self.ball.contains(adversarial, clean)

    def patches(self, size: tuple[int, int]) -> None:
        """The whole image."""


@dataclass(frozen=True)
class Nearest:
    """Every pixel, by any distance: for attacks that look for the nearest image that fools.

    Such an attack fools nearly always; what it tells is how far it had to go. So it counts for no worst case beside
    attacks that are bound.
    """

    @property
    def text(self) -> str:
        """One line for the report."""
        return NEAREST

    @property
    def local(self) -> bool:
        """The whole image may change."""
        return False

    def broken(self, clean: Tensor, adversarial: Tensor) -> Tensor:
        """None, (N,) bool."""
        return clean.new_zeros(len(clean), dtype=torch.bool)

    def patches(self, size: tuple[int, int]) -> None:
        """The whole image."""


def changed_box(clean: Tensor, adversarial: Tensor) -> Tensor:
    """The smallest box around all changed pixels of images (N, C, H, W): (N, 4) int64, half-open; -1 where none is."""
    return mask_boxes(_changed(clean, adversarial)[:, None])


def _changed(clean: Tensor, adversarial: Tensor) -> Tensor:
    """Pixels that differ in any channel, (N, H, W) bool."""
    return (clean != adversarial).any(1)
