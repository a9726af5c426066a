"""De-randomised smoothing: a vote of partial images, of which a patch reaches only so many."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from blurnet.bounds import Count, Fraction
from blurnet.certified.base import Certificate, CertifiedModel, Model
from blurnet.certified.views import Views
from blurnet.checks import check_form
from blurnet.masks import Area, patch_side
from blurnet.settings import Settings, takes

Kind = Literal["columns", "rows", "blocks"]


@dataclass(frozen=True)
class DerandomizedSettings(Settings, owner="Derandomized"):
    """Of :class:`Derandomized`; one of ``area`` and ``patch`` is given.

    Args:
        area: the square patch's share of the image.
        patch: the patch's side, or (height, width), in pixels; every smaller one is covered as well.
        kind: what is left of an image: "columns" or "rows" of ``width`` pixels, or "blocks" of ``width`` squared.
        width: of what is left, in pixels.
        stride: pixels from one partial image to the next; they go around the border.
        threshold: the probability above which a partial image votes for a class, for none or for several; None: each
            votes for its largest.
        fill: value of hidden pixels, in [0, 1].
        batch: partial images shown to the model at once; memory grows with it.
    """

    area: Area | None = None
    patch: int | tuple[int, int] | None = None
    kind: Kind = "columns"
    width: Count = 4
    stride: Count = 1
    threshold: Fraction | None = None
    fill: Fraction = 0.5
    batch: Count = field(default=64, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.area is None) == (self.patch is None):
            raise ValueError(f"Derandomized: give area or patch, one of them; got {self.area!r} and {self.patch!r}")

    def patch_of(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) in pixels of the patch on images of (H, W); ValueError where it does not fit."""
        side = self.patch if self.area is None else patch_side(size, self.area)
        height, width = (side, side) if isinstance(side, int) else side or (0, 0)
        if not (1 <= height <= size[0] and 1 <= width <= size[1]) or (height, width) == size:
            raise ValueError(f"patch: expected smaller than {size[0]}x{size[1]} pixels, got {height}x{width}")
        return height, width


class Derandomized(CertifiedModel):
    """Smoothing over partial images, for nets that are trained on them: votes as logits, and certificates.

    Each partial image votes; the class with most votes is the answer, of equals the first. A patch can only change
    the votes of partial images that it reaches, which are counted for every place of the patch; so an answer that
    leads by more than twice the most of them stands (by just as much, where its class comes first).

    The logits are the numbers of votes; where a gradient is recorded it is that of the sum of all logits.

    Args:
        model: partial images (N, C, H, W), hidden pixels of value ``fill``, to logits; in evaluation mode.
        settings: the fields of :class:`DerandomizedSettings`, as arguments of their own.

    Raises:
        ValueError, TypeError: as :class:`~blurnet.certified.double_masking.DoubleMasking`.

    Source: Levine and Feizi 2020, "(De)Randomized Smoothing"; Salman et al. 2022, "Certified Patch
    Robustness via Smoothed Vision Transformers", for ``stride`` and votes by the largest logit. Their count of the
    partial images that a patch reaches is one too few where the stride does not divide the width of the image.
    """

    @takes(DerandomizedSettings)
    def __init__(self, model: Model, settings: DerandomizedSettings) -> None:
        super().__init__(model)
        self.settings = settings

    def threat(self, image_size: tuple[int, int]) -> str:
        """What the certificate holds against, in pixels and percent."""
        (height, width), (rows, columns) = self.settings.patch_of(image_size), image_size
        share = 100 * height * width / (rows * columns)
        return f"one {height}x{width}-pixel patch ({share:.1f} % of {rows}x{columns}), anywhere"

    def covers(self, image_size: tuple[int, int], patches: Tensor) -> bool:
        """See :class:`~blurnet.certified.base.CertifiedModel`: the box around each fits the patch."""
        height, width = self.settings.patch_of(image_size)
        tall = patches[..., 1].amax(1) - patches[..., 0].amin(1)
        wide = patches[..., 3].amax(1) - patches[..., 2].amin(1)
        return bool(((tall <= height) & (wide <= width)).all())

    def forward(self, images: Tensor) -> Tensor:
        """Votes (N, classes) of images (N, C, H, W) in [0, 1]; the largest is the answer."""
        views = self._views(images)
        with torch.no_grad():
            value = torch.cat([self._votes(views, block) for block in torch.split(images, self.settings.batch)])
        if not (torch.is_grad_enabled() and images.requires_grad):
            return value
        places = self._places(len(images), views)
        return views.steered(images, value, places, torch.ones(len(places), device=images.device))

    def proven(self, images: Tensor, labels: Tensor) -> Certificate:
        """See :class:`~blurnet.certified.base.CertifiedModel`."""
        with torch.no_grad():
            votes = self.forward(images)
        reached = self.reached((images.shape[-2], images.shape[-1]))
        mine = votes.gather(1, labels[:, None])
        classes = torch.arange(votes.shape[1], device=votes.device)
        # A class before the label's must stay below it; one behind may draw level.
        needed = 2 * reached + (classes < labels[:, None]) - (mine - votes)
        others = classes != labels[:, None]
        certified = ((needed <= 0) | ~others).all(1)
        count = len(self._kept((images.shape[-2], images.shape[-1])))
        agreement = votes.amax(1) >= count
        return Certificate(certified, votes, agreement, torch.full_like(labels, count))

    def reached(self, image_size: tuple[int, int]) -> int:
        """How many partial images a patch reaches, at most: counted at every place of the patch."""
        patch, s = self.settings.patch_of(image_size), self.settings
        rows, columns = (_reached(n, s.width, s.stride, p) for n, p in zip(image_size, patch, strict=True))
        return columns if s.kind == "columns" else rows if s.kind == "rows" else rows * columns

    def _kept(self, size: tuple[int, int]) -> Tensor:
        """What each partial image keeps, (A, H, W) bool."""
        s = self.settings
        whole = torch.ones(1, *size, dtype=torch.bool)
        rows, columns = (_bands(n, s.width, s.stride) for n in size)
        if s.kind == "columns":
            return whole & columns[:, None, :]
        if s.kind == "rows":
            return whole & rows[:, :, None]
        return (rows[:, None, :, None] & columns[None, :, None, :]).flatten(0, 1)

    def _views(self, images: Tensor) -> Views:
        self.check_model()
        check_form(images, channels=None)
        size = images.shape[-2], images.shape[-1]
        self.settings.patch_of(size)
        hidden = ~self._kept(size).to(images.device)
        return Views(self.model, hidden, self.settings.fill, self.settings.batch)

    @staticmethod
    def _places(n: int, views: Views) -> Tensor:
        device = views.hidden.device
        return torch.cartesian_prod(torch.arange(n, device=device), torch.arange(len(views.hidden), device=device))

    def _votes(self, views: Views, images: Tensor) -> Tensor:
        places, threshold = self._places(len(images), views), self.settings.threshold
        total: Tensor | None = None
        for part, logits in views.answers(images, places):
            if threshold is None:
                cast = torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1]).to(logits.dtype)
            else:
                cast = (logits.softmax(1) > threshold).to(logits.dtype)
            total = logits.new_zeros(len(images), logits.shape[1]) if total is None else total
            total.index_add_(0, places[part, 0], cast)
        if total is None:
            raise ValueError("Derandomized: expected images, got none")
        return total


def _bands(n: int, width: int, stride: int) -> Tensor:
    """What each band of an axis of n pixels keeps, (A, n) bool; bands go around the end."""
    start = torch.arange(0, n, stride)[:, None]
    return (torch.arange(n) - start) % n < width


def _reached(n: int, width: int, stride: int, patch: int) -> int:
    """How many bands of an axis a patch of ``patch`` pixels touches, at most."""
    touched = _bands(n, width, stride).float()[:, None]
    return int(torch.nn.functional.max_pool1d(touched, patch, stride=1).sum(0).max())
