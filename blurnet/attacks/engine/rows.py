"""The rows of a batched attack in which finished images leave: what still climbs, and the best point of each."""

from typing import NamedTuple

import torch
from torch import Tensor


class Best(NamedTuple):
    """Points with what they achieve."""

    x: Tensor  #: (rows, C, H, W)
    share: Tensor  #: (rows,): share of looks at which the attack had succeeded; -1 before the first look
    loss: Tensor  #: (rows,)

    @classmethod
    def none(cls, x: Tensor) -> "Best":
        """Before the first look: copies of ``x`` that any point beats."""
        return cls(x.clone(), x.new_full((len(x),), -1), x.new_full((len(x),), float("-inf")))

    def take(self, rows: Tensor | slice) -> "Best":
        """The points at some indices."""
        return Best(*(t[rows] for t in self))

    def write(self, rows: Tensor, other: "Best") -> None:
        """Put the points ``other`` at some indices, in place."""
        for mine, new in zip(self, other, strict=True):
            mine.index_copy_(0, rows, new)

    def or_better(self, other: "Best", *, keep_won: bool = False) -> "Best":
        """Row by row the better, success before loss; this one on a tie, and with ``keep_won`` where it has won."""
        better = torch.where(other.share == self.share, other.loss > self.loss, other.share > self.share)
        better = better & ~other.loss.isnan()  # an answer of NaN is no success
        if keep_won:
            better &= self.share < 1
        return Best(
            *(torch.where(better.view(-1, *[1] * (a.ndim - 1)), b, a) for a, b in zip(self, other, strict=True))
        )


class Rows(NamedTuple):
    """What still climbs: a row for each restart and image."""

    number: Tensor  #: restart * images + image
    x: Tensor
    home: Tensor  #: the clean image
    labels: Tensor
    goals: Tensor | None
    best: Best
    velocity: Tensor | None = None

    @classmethod
    def begin(cls, starts: Tensor, images: Tensor, labels: Tensor, goals: Tensor | None) -> "Rows":
        """Rows for ``starts`` (restarts times images, restart by restart)."""
        count = len(starts) // len(images)
        number = torch.arange(len(starts), device=starts.device)
        home, labels = (t if count == 1 else t.repeat(count, *[1] * (t.ndim - 1)) for t in (images, labels))
        return cls(number, starts, home, labels, None if goals is None else goals.repeat(count), Best.none(starts))

    def take(self, keep: Tensor) -> "Rows":
        """The rows at some indices."""
        number, x, home, labels = (t[keep] for t in (self.number, self.x, self.home, self.labels))
        goals, velocity = (None if t is None else t[keep] for t in (self.goals, self.velocity))
        return Rows(number, x, home, labels, goals, self.best.take(keep), velocity)


def still_standing(rows: Rows, images: int) -> Tensor:
    """Indices of the rows that go on: neither they nor an earlier restart of their image have won.

    A later restart's success does not end an earlier one, so that the result is that of one restart after the other.
    The one place of a step that waits for the device.
    """
    restart, image = rows.number // images, rows.number % images
    never = torch.full_like(restart, len(restart))
    first = never.new_full((images,), len(restart)).scatter_reduce_(
        0, image, torch.where(rows.best.share == 1, restart, never), "amin"
    )
    return (restart < first[image]).nonzero().squeeze(1)
