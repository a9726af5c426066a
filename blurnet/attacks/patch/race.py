"""A race of patches over places: all of them with few steps, the best with more, until one breaks the image."""

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from blurnet.attacks.base import Attack, Problem, Record
from blurnet.attacks.engine.ascent import Ascent, Look, climb
from blurnet.attacks.engine.best import Best, Keeper
from blurnet.attacks.engine.climbers import Momentum
from blurnet.attacks.engine.goal import Goal, strongest_wrong
from blurnet.attacks.engine.moves import paste
from blurnet.attacks.engine.places import covering_grid, steepest
from blurnet.attacks.engine.targets import Rank
from blurnet.bounds import Count, Steps, at_least
from blurnet.masks import Area, Place, mask_boxes, masks_of, patch_side
from blurnet.strict import check_fields

_WAVE = 64  #: candidates of an image that are judged side by side; a success spares those that come after
_PIXELS = 2**18  #: of a batch, 256 pictures of 32 x 32: what the memory is bounded by
_FIRST, _LATER = 0.5, 0.25  #: size of an ascent's first step in the first round, and in those that go on from patches
_HELD = 2**26  #: numbers that the patches of images in the race together may hold


@dataclass(frozen=True)
class Rung:
    """One round of a race.

    Args:
        places: how many take part, the best of the round before, or first of all those with most gradient.
        steps: of each ascent.
        starts: at each place: its best patch so far, or first of all noise; then noise and black-and-white in turn.
        targets: further ascents from the best patch so far, each towards one of so many likely wrong classes.
    """

    places: Count
    steps: Steps
    starts: Count = 1
    targets: Steps = 0

    def __post_init__(self) -> None:
        check_fields(self)


class Ran(NamedTuple):
    """What a race found for N images."""

    record: Record
    places: Tensor  #: (N, K) indices into the grid, the best first


@dataclass(frozen=True)
class PatchRace(Attack):
    """Breadth first, then depth: successive halving over the places of a square, the starts and the target classes.

    In each round every place left climbs the margin by sign steps with momentum, from its best patch so far and from
    fresh starts, and only the best places go on. A round takes an image's candidates in waves, the best places
    first; the first success finishes the image, and no further wave is asked. Images are raced side by side, none's
    result depends on its batch, and other attacks of the same record that ask for the places have them for nothing
    (``BestLocation(attack, race=race)``).

    Args:
        area: share of the image that the square covers, at a place that is searched; without meaning with a mask.
        mask: where the patch lies instead: zeros and ones (H, W), (1, 1, H, W) or (N, 1, H, W), or a
            :class:`~blurnet.masks.Place`. It is one place, and the race is over starts and targets.
        rungs: the rounds; none has more places than the one before.
        across: most places along each axis: every place of a small image, a covering grid of a large one.
        seed: of the starts; every image and place has the same.

    Raises:
        ValueError, TypeError: bad settings, a mask of another shape, or a square that does not fit.

    Source: successive halving, Jamieson and Talwalkar 2016; the ascent is that of Dong et al. 2018.
    """

    area: Area = 0.05
    mask: Tensor | Place | None = field(default=None, compare=False)
    rungs: tuple[Rung, ...] = (Rung(676, 4), Rung(96, 10), Rung(24, 40, 2), Rung(8, 100, 6, 2))
    across: Annotated[int, at_least(2)] = 26
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "rungs", tuple(self.rungs))
        places = [rung.places for rung in self.rungs]
        if not places or places != sorted(places, reverse=True):
            raise ValueError(f"PatchRace rungs: expected at least one, with ever fewer places, got {self.rungs!r}")

    @property
    def clean_gradients(self) -> int:
        """One, which says what places come first."""
        return int(self.mask is None)

    @property
    def _unsaid(self) -> Collection[str]:
        return ("mask",) if self.mask is None else ("area", "across")

    def grid(self, images: Tensor) -> Tensor:
        """All places for images (N, 3, H, W): boxes (P, 4) on their device; with a mask the whole image."""
        size = (images.shape[-2], images.shape[-1])
        if self.mask is not None:
            return torch.tensor([[0, size[0], 0, size[1]]], device=images.device)
        return covering_grid(size, patch_side(size, self.area), self.across).to(images.device)

    def search(self, problem: Problem) -> Record:
        """See the class; an image has fallen where its answer is clearly another, and its box is that of its patch."""
        return self.run(problem).record

    def run(self, problem: Problem) -> Ran:
        """The record, and the places that the race ranks best. For images that were raced before it costs nothing."""
        if self.mask is not None:
            return self._run(problem)
        kept = problem.notes.setdefault(self, {})
        rows = problem.rows.tolist()
        new = [number for number, row in enumerate(rows) if row not in kept]
        calls = torch.zeros_like(problem.labels)
        if new:
            index = torch.tensor(new, device=calls.device)
            ran = self._run(problem.at(index))
            calls[index] = ran.record.calls
            found = zip(*ran.record, ran.places, strict=True)
            kept.update((rows[number], columns) for number, columns in zip(new, found, strict=True))
        columns = [torch.stack(column) for column in zip(*(kept[row] for row in rows), strict=True)]
        return Ran(Record(*columns[:-1])._replace(calls=calls), columns[-1])

    def _run(self, problem: Problem) -> Ran:
        """The race itself, in groups of images whose patches fit the memory."""
        grid, first = self.grid(problem.images), self.rungs[0].places
        mask = None if self.mask is None else masks_of(self.mask, problem.images, "PatchRace mask")
        if mask is None:
            away = Goal(problem.labels)
            gradient = problem.clean_gradient(lambda logits: away.objective("margin", logits))
            order = steepest(gradient, grid, first)
        else:
            order = torch.zeros_like(problem.labels)[:, None]
        top, bottom, left, right = grid[0].tolist()
        group = max(1, _HELD // (3 * (bottom - top) * (right - left) * order.shape[1]))
        parts = []
        for rows in torch.split(torch.arange(len(problem), device=order.device), group):
            race = _Race(self, problem.at(rows), grid, order[rows], None if mask is None else mask[rows])
            parts.append((*race.run(), race.places))
        columns = [torch.cat(column) for column in zip(*parts, strict=True)]
        return Ran(Record(*columns[:-1]), columns[-1])


class _Field(NamedTuple):
    """What is still in the race for n images: P places each, the best first, with their best patches."""

    places: Tensor  #: (n, P) indices into the grid
    patches: Tensor  #: (n, P, 3, h, w)
    values: Tensor  #: (n, P): the margin that the patch reached

    def at(self, rows: Tensor) -> "_Field":
        return _Field(*(t[rows] for t in self))

    def first(self, count: int) -> "_Field":
        return _Field(*(t[:, :count] for t in self))


class _Race:
    """One race of a group of images."""

    def __init__(self, settings: PatchRace, problem: Problem, grid: Tensor, order: Tensor, mask: Tensor | None) -> None:
        self.settings, self.problem, self.grid, self.order, self.mask = settings, problem, grid, order, mask
        top, bottom, left, right = grid[0].tolist()
        self.shape, self.batch = (bottom - top, right - left), max(8, _PIXELS // problem.images[0, 0].numel())
        self.calls, self.fooled = torch.zeros_like(problem.labels), torch.zeros_like(problem.labels, dtype=torch.bool)
        kept = min(order.shape[1], settings.rungs[-1].places)
        self.places = order[:, :kept].clone()
        found = problem.clean.new_full((len(problem),), -1)
        self.best = Best(problem.images.clone(), found, torch.full_like(found, -math.inf))
        self.boxes = grid[order[:, 0]] if mask is None else mask_boxes(mask)
        self.corners = grid[:, [0, 2]]
        likely = range(1, max(rung.targets for rung in settings.rungs) + 1)
        ranks = [problem.goal(Rank(k)).targets for k in likely]
        self.ranks = torch.stack([rank for rank in ranks if rank is not None], dim=1) if ranks else order[:, :0]

    def run(self) -> Record:
        """All rounds, for the images that still stand; where each one's best places are is kept in ``places``."""
        index = torch.arange(len(self.problem), device=self.order.device)
        start = self._start(0).expand(*self.order.shape, -1, -1, -1)
        left = _Field(self.order, start, self.best.value.new_full(self.order.shape, -math.inf))
        for number, rung in enumerate(self.settings.rungs):
            left = self._round(number, rung, index, left.first(rung.places))
            self.places[index] = left.places[:, : self.places.shape[1]]
            stay = ~self.fooled[index]
            index, left = index[stay], left.at(stay)
            if not len(index):
                break
        return Record(self.best.x, self.problem.stages(self.fooled), self.calls, self.boxes)

    def _start(self, number: int) -> Tensor:
        """Pixels (3, h, w): uniform noise, every second time rounded to black and white."""
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + number)
        noise = torch.rand(3, *self.shape, generator=generator).to(self.problem.images)
        return noise.round() if number % 2 else noise

    def _round(self, number: int, rung: Rung, index: Tensor, left: _Field) -> _Field:
        """One round of the images ``index`` (n,), place by place with all starts and targets; the places re-ranked."""
        n, places = left.places.shape
        kinds, size = rung.starts + rung.targets, _LATER if number else _FIRST
        fresh = [self._start(1000 * number + start).expand_as(left.patches) for start in range(1, rung.starts)]
        patches = torch.stack([left.patches, *fresh, *[left.patches] * rung.targets], dim=2).flatten(1, 2)
        away = left.places.new_full((n, rung.starts), -1)
        targets = torch.cat([away, self.ranks[index, : rung.targets]], dim=1).repeat(1, places)
        where = left.places.repeat_interleave(kinds, dim=1)
        values = left.values.new_full(where.shape, -math.inf)
        for wave in torch.split(torch.arange(where.shape[1], device=index.device), min(_WAVE, self.batch)):
            standing = (~self.fooled[index]).nonzero().squeeze(1)
            if not len(standing):
                break
            for some in torch.split(standing, max(1, self.batch // len(wave))):
                # Row c n + i: candidate c of image i.
                rows, columns = some.repeat(len(wave)), wave.repeat_interleave(len(some))
                drawn = (t[rows, columns] for t in (where, patches, targets))
                best = self._ascend(rung.steps, size, index[some], *drawn)
                patches[rows, columns], values[rows, columns] = best.x, best.value.to(values)
        return _ranked(left, patches.view(n, places, kinds, 3, *self.shape), values.view(n, places, kinds))

    def _ascend(self, steps: int, size: float, images: Tensor, where: Tensor, patches: Tensor, targets: Tensor) -> Best:
        """The best patch of each candidate (rows,) of images (n,), and what it means for these images."""
        rows = images.repeat(len(where) // len(images))
        ascent = _Candidates(self, rows, self.corners[where], targets)
        best = climb(ascent, patches, Momentum(steps, size), steps, Keeper(patches, self.problem.clean))
        chosen = best._replace(x=torch.arange(len(rows), device=rows.device)).of_groups(len(images)).x
        corners = self.corners[where[chosen]]
        pictures = paste(self.problem.images[images], best.x[chosen], corners, _at(self.mask, images))
        found = best.take(chosen)._replace(x=pictures)
        before = self.best.take(images)
        after = before.or_better(found)
        self.best.write(images, after)
        if self.mask is None:
            better = (after.share > before.share) | (after.value > before.value)
            self.boxes[images[better]] = self.grid[where[chosen[better]]]
        return best


class _Candidates(Ascent):
    """Patches at places of their images, many an image; one that breaks its image finishes them all."""

    def __init__(self, race: _Race, images: Tensor, corners: Tensor, targets: Tensor) -> None:
        self.race, self.images, self.corners, self.targets = race, images, corners, targets
        self.goal = Goal(race.problem.labels[images])

    def look(self, variable: Tensor) -> Look:
        """Climbed is the lead of the target over the label, or of the strongest wrong class; the margin ranks."""
        race, labels = self.race, self.goal.labels
        picture = paste(race.problem.images[self.images], variable, self.corners, _at(race.mask, self.images))
        logits = race.problem.model(picture)
        race.calls.index_add_(0, self.images, torch.ones_like(self.images))
        towards = torch.where(self.targets < 0, strongest_wrong(logits, labels), self.targets)
        pull = (logits.gather(1, towards[:, None]) - logits.gather(1, labels[:, None])).squeeze(1)
        logits = logits.detach()
        clear = self.goal.clearly_reached(logits)
        race.fooled[self.images[clear]] = True
        value = self.goal.objective("margin", logits)
        return Look(picture, pull, value, clear.to(value), variable, race.fooled[self.images])

    def project(self, variable: Tensor) -> Tensor:
        """Colours stay in [0, 1]."""
        return variable.clamp(0, 1)

    def keep(self, rows: Tensor, images: Tensor) -> None:
        """See :meth:`Ascent.keep`."""
        self.images, self.corners, self.targets = self.images[rows], self.corners[rows], self.targets[rows]
        self.goal = self.goal.at(rows)


def _at(mask: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if mask is None else mask[rows]


def _ranked(left: _Field, patches: Tensor, values: Tensor) -> _Field:
    """The places by their best patches of this round (n, P, kinds, 3, h, w) and those before, the best first."""
    patches = torch.cat([left.patches[:, :, None], patches], dim=2)
    value, kind = torch.cat([left.values[:, :, None], values], dim=2).max(dim=2)
    order = value.argsort(dim=1, descending=True, stable=True)
    image = torch.arange(len(order), device=order.device)[:, None]
    return _Field(left.places[image, order], patches[image, order, kind[image, order]], value[image, order])
