"""Random changes of a square patch: squares of one colour on it, and steps of the whole patch over the image."""

import math

import torch
from torch import Tensor

from blurnet.attacks.engine.search import Proposer, coverage
from blurnet.masks import Place, box_masks, mask_boxes, masks_of, patch_side


class PatchMoves(Proposer):
    """A patch for each image, that a step recolours in one square or, where its place is free, moves.

    It begins as vertical stripes. A square has a random corner of the colour cube, lies about a random pixel of the
    patch, and covers a share of it that shrinks (see :func:`~blurnet.attacks.engine.search.coverage`); so does the
    reach of a move. All images have the same draws.

    Args:
        images: (N, 3, H, W) in [0, 1].
        mask: where the patch lies, see :func:`~blurnet.masks.masks_of`; None: a free square.
        area: of a free square, share of the image.
        share: of the patch that the first squares cover.
        move_every: every so many steps a free patch moves.
        seed: of all draws.
        name: how messages call the mask.

    Source: Croce et al. 2022 (Sparse-RS), section 4; the stripes are those of Andriushchenko et al. 2020.
    """

    def __init__(
        self, images: Tensor, mask: Tensor | Place | None, area: float, share: float, move_every: int, seed: int,
        name: str = "mask",
    ) -> None:  # fmt: skip
        self.images, self.share, self.move_every = images, share, move_every
        self.generator = torch.Generator().manual_seed(seed)
        n, _, height, width = images.shape
        self.mask = None if mask is None else masks_of(mask, images, name)
        side = patch_side((height, width), area) if mask is None else 0
        shape = (side, side) if mask is None else (height, width)
        stripes = self._draw(3, 1, shape[1]).round().to(images)
        self.patch = stripes.expand(n, 3, *shape).clone()
        top, left = (
            (u * (room + 1)).long() for u, room in zip(self._draw(2), (height - side, width - side), strict=True)
        )
        corner = torch.stack([top, left]).to(images.device).expand(n, 2)
        self.corner = corner if mask is None else torch.zeros_like(corner)
        self.pixels, self.count = _pixels(self.mask, shape, images)
        self.proposal = self.patch, self.corner

    def start(self) -> Tensor:
        """See :meth:`Proposer.start`."""
        return self._paste(self.patch, self.corner)

    def propose(self, step: int) -> Tensor:
        """See :meth:`Proposer.propose`."""
        where, colour, reach = self._draw(1), self._draw(3).round(), self._draw(2) * 2 - 1
        share = coverage(self.share, step)
        if self.mask is None and step % self.move_every == 0:
            self.proposal = self.patch, self._moved(reach, math.sqrt(share / self.share))
        else:
            self.proposal = self._recoloured(where, colour, share), self.corner
        return self._paste(*self.proposal)

    def accept(self, rows: Tensor) -> None:
        """See :meth:`Proposer.accept`."""
        patch, corner = self.proposal
        self.patch = torch.where(rows.view(-1, 1, 1, 1), patch, self.patch)
        self.corner = torch.where(rows[:, None], corner, self.corner)

    def keep(self, rows: Tensor) -> None:
        """See :meth:`Proposer.keep`."""
        self.images, self.patch, self.corner = self.images[rows], self.patch[rows], self.corner[rows]
        self.pixels, self.count = self.pixels[rows], self.count[rows]
        self.mask = None if self.mask is None else self.mask[rows]

    def boxes(self) -> Tensor:
        """See :meth:`Proposer.boxes`."""
        if self.mask is not None:
            return mask_boxes(self.mask)
        (height, width), (top, left) = self.patch.shape[-2:], self.corner.unbind(1)
        return torch.stack([top, top + height, left, left + width], dim=1)

    def inside(self, corner: Tensor) -> Tensor:
        """The pixels of a patch at ``corner`` (rows, 2), (rows, 1, H, W) bool."""
        if self.mask is not None:
            return self.mask
        (height, width), (top, left) = self.patch.shape[-2:], corner.unbind(1)
        size = (self.images.shape[-2], self.images.shape[-1])
        return box_masks(size, torch.stack([top, top + height, left, left + width], dim=1)).bool()

    def _draw(self, *shape: int) -> Tensor:
        """Uniform in [0, 1), on the CPU so that every device sees the same."""
        return torch.rand(shape, generator=self.generator)

    def _moved(self, direction: Tensor, scale: float) -> Tensor:
        """Corners (rows, 2) after a step of up to ``scale`` of the free way, at least a pixel, kept in the image."""
        free = torch.tensor(self.images.shape[-2:]) - torch.tensor(self.patch.shape[-2:])
        step = (direction * (scale * free).clamp(min=1)).round().long()
        return (self.corner + step.to(self.corner)).clamp(min=0).minimum(free.to(self.corner))

    def _recoloured(self, where: Tensor, colour: Tensor, share: float) -> Tensor:
        """Patches with a square of one colour about the pixel ``where`` (1,), as a share of the patch's pixels."""
        height, width = self.patch.shape[-2:]
        side = (share * self.count).sqrt().round().long().clamp(1, min(height, width))
        number = (where.to(self.pixels.device) * self.count).long()
        pixel = self.pixels.gather(1, number[:, None]).squeeze(1)
        top = (pixel // width - side // 2).clamp(min=0).minimum(height - side)
        left = (pixel % width - side // 2).clamp(min=0).minimum(width - side)
        window = box_masks((height, width), torch.stack([top, top + side, left, left + side], dim=1)).bool()
        return torch.where(window, colour.to(self.patch).view(1, 3, 1, 1), self.patch)

    def _paste(self, patch: Tensor, corner: Tensor) -> Tensor:
        """Patches (rows, 3, h, w) on their images, the upper left corners at ``corner`` (rows, 2)."""
        return paste(self.images, patch, corner, self.mask)


def paste(images: Tensor, patch: Tensor, corner: Tensor, mask: Tensor | None = None) -> Tensor:
    """Images (N, 3, H, W) with patches on them, differentiable in the patches.

    Args:
        images: the pictures below.
        patch: (N, 3, h, w), or with a mask (N, 3, H, W).
        corner: of each patch the upper left pixel, (N, 2); without meaning with a mask.
        mask: where the patch shows, (N, 1, H, W) bool; None: all of it.
    """
    if mask is not None:
        return torch.where(mask, patch, images)
    picture = images.clone()
    (height, width), device = patch.shape[-2:], patch.device
    rows = (corner[:, :1] + torch.arange(height, device=device))[:, :, None]
    columns = (corner[:, 1:] + torch.arange(width, device=device))[:, None, :]
    number = torch.arange(len(patch), device=device)[:, None, None]
    picture[number, :, rows, columns] = patch.movedim(1, -1)
    return picture


def _pixels(mask: Tensor | None, shape: tuple[int, int], images: Tensor) -> tuple[Tensor, Tensor]:
    """Of each image, its patch's pixels as flat indices (N, h w), those of the mask first, and how many, (N,)."""
    if mask is None:
        pixels = torch.arange(shape[0] * shape[1], device=images.device)
        return pixels.expand(len(images), -1), torch.full((len(images),), len(pixels), device=images.device)
    flat = mask.flatten(1)
    return flat.byte().argsort(dim=1, descending=True, stable=True), flat.sum(dim=1)
