"""The best point of each image so far, while images leave the batch."""

from typing import NamedTuple

import torch
from torch import Tensor


class Best(NamedTuple):
    """Points with what they achieve."""

    x: Tensor  #: (rows, ...)
    share: Tensor  #: (rows,): how much of what counts first is won; -1 before the first look
    value: Tensor  #: (rows,): the objective, which counts where shares are equal

    @classmethod
    def none(cls, x: Tensor, like: Tensor) -> "Best":
        """Before the first look: copies of ``x`` that any point beats; values are kept in the dtype of ``like``."""
        return cls(x.detach().clone(), like.new_full((len(x),), -1), like.new_full((len(x),), float("-inf")))

    def take(self, rows: Tensor | slice) -> "Best":
        """The points at some indices."""
        return Best(*(t[rows] for t in self))

    def write(self, rows: Tensor, other: "Best") -> None:
        """Put the points ``other`` at some indices, in place."""
        for mine, new in zip(self, other, strict=True):
            mine.index_copy_(0, rows, new.to(mine))

    def or_better(self, other: "Best", *, keep_won: bool = False) -> "Best":
        """Row by row the better, share before value; this one on a tie, and with ``keep_won`` where it has won all."""
        better = torch.where(other.share == self.share, other.value > self.value, other.share > self.share)
        better = better & ~other.value.isnan()  # an answer of NaN is no success
        if keep_won:
            better &= self.share < 1
        return Best(
            *(torch.where(better.view(-1, *[1] * (a.ndim - 1)), b, a) for a, b in zip(self, other, strict=True))
        )

    def of_groups(self, groups: int) -> "Best":
        """The best row of each group, the first on a tie; row ``r groups + g`` belongs to group g."""
        if len(self.x) == groups:
            return self
        share = self.share.masked_fill(self.value.isnan(), -1).view(-1, groups)
        most = share.amax(dim=0)
        value, number = self.value.view(-1, groups).where(share == most, float("-inf")).max(dim=0)
        chosen = number * groups + torch.arange(groups, device=value.device)
        return Best(self.x[chosen], most, value)


class Keeper:
    """The best point of each of n images, of all steps and of all the rows that an image has in the batch.

    Args:
        start: what is kept where nothing was ever better, (n, ...).
        like: a tensor of the dtype in which values are kept.
        last: keep the last point instead of the best.
    """

    def __init__(self, start: Tensor, like: Tensor, *, last: bool = False) -> None:
        self.last, self.index = last, torch.arange(len(start), device=start.device)
        self.found = self.now = Best.none(start, like)

    def offer(self, x: Tensor, share: Tensor, value: Tensor) -> None:
        """Points of the images that are left, several rows for each one after the other: row ``r n + i``."""
        here = Best(x, share.to(self.now.share), value.to(self.now.value)).of_groups(len(self.index))
        self.now = here if self.last else self.now.or_better(here)

    def keep(self, stay: Tensor) -> None:
        """Write down all points and go on with the images at some indices of those left."""
        self.found = self.all()
        self.index, self.now = self.index[stay], self.now.take(stay)

    def all(self) -> Best:
        """The best points of all n images."""
        if len(self.index) == len(self.found.x):
            return self.now
        self.found.write(self.index, self.now)
        return self.found
