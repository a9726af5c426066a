"""Where a patch does most harm: probe the places, then attack each image at its own best ones."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from blurnet.attacks.base import STANDING, WRONG, Attack, Problem, Record
from blurnet.attacks.engine.losses import Loss
from blurnet.attacks.engine.places import steepest
from blurnet.attacks.engine.settings import inside, replace_inside
from blurnet.attacks.patch.race import PatchRace
from blurnet.bounds import Count, Steps
from blurnet.masks import Area, box_masks, grid_boxes, patch_side

Probe = Literal["gray", "noise"]


@dataclass(frozen=True)
class BestLocation(Attack):
    """A masked attack at each image's own best place for a rectangle.

    Places lie on a grid whose last row and column are always part of it. Each is probed with one forward pass, a gray
    or noisy rectangle there (exhaustive); with ``shortlist``, only the windows that hold most of the squared input
    gradient are. The attack then runs at the ``tries`` best places, image by image until one succeeds; failing that, a
    picture with any wrong answer is kept before one that comes nearer to a target. No image's result depends on its
    batch.

    With a ``race`` the places are those that it ranks best, whose area and grid they have. What it does and costs is
    told by :class:`~blurnet.attacks.patch.race.PatchRace`; its patches are not taken over.

    Args:
        attack: any attack with a ``mask`` setting, of its own or of an attack that it wraps; the mask is replaced.
        area: share of the image that a square patch covers; or
        size: its side, or (height, width), in pixels; or
        race: what ranks the places in place of probes. Exactly one of the three.
        stride: pixels between neighbouring places; None: a sixteenth of the image's shorter side, at least 1.
        shortlist: how many windows with the largest sum of squared gradients are probed (phattacks: 5); None: all
            places.
        probe: what is put there: "gray" (0.5) or uniform "noise", the same everywhere.
        probe_steps: with a shortlist, rank it by what the attack itself reaches in so many steps; 0: by the probes.
        tries: how many of the best places to attack.
        loss: what a place is ranked by, towards the attack's target if it has one.
        chunk: most pictures in a batch while places are probed, which bounds the memory.
        seed: of the probing noise; the attack inside keeps its own.

    Raises:
        ValueError: bad settings, an attack without ``mask``, or a patch that does not fit.

    Source: Wu et al. 2020 (phattacks), rectangular occlusion attack: exhaustive and gradient-based search.
    """

    attack: Attack
    area: Area | None = None
    size: int | tuple[int, int] | None = None
    race: PatchRace | None = None
    stride: Count | None = None
    shortlist: Count | None = None
    probe: Probe = "gray"
    probe_steps: Steps = 0
    tries: Count = 1
    loss: Loss = "margin"
    chunk: Count = 512
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        replace_inside(self.attack, mask=inside(self.attack, "mask"))  # raises where there is none
        if sum(setting is not None for setting in (self.area, self.size, self.race)) != 1:
            given = f"{self.area!r}, {self.size!r} and {self.race!r}"
            raise ValueError(f"BestLocation: expected one of area, size and race, got {given}")
        if self.race is not None and self.race.mask is not None:
            raise ValueError("BestLocation race: under a mask it ranks no places")
        if self.probe_steps and self.shortlist is None:
            raise ValueError("BestLocation probe_steps: the attack is tried on a shortlist; give one")

    @property
    def stage_names(self) -> tuple[str, ...]:
        """One name for each place tried, the best first."""
        return tuple(f"place {number + 1}" for number in range(self.tries))

    @property
    def clean_gradients(self) -> int:
        """One, for a shortlist or the race."""
        return int(self.shortlist is not None) if self.race is None else self.race.clean_gradients

    @property
    def _unsaid(self) -> Collection[str]:
        return ("race",) if self.race is None else ()

    def grid(self, images: Tensor) -> Tensor:
        """All places for images (N, 3, H, W): boxes (P, 4) on their device."""
        if self.race is not None:
            return self.race.grid(images)
        height, width = images.shape[-2:]
        patch = self.size if self.size is not None else patch_side((height, width), self.area or 0)
        stride = max(1, min(height, width) // 16) if self.stride is None else self.stride
        return grid_boxes((height, width), patch, stride).to(images.device)

    def search(self, problem: Problem) -> Record:
        """See the class; the stage is the place that broke the image, the box that of the picture given back."""
        images, labels, search = problem.images, problem.labels, _Search(self, problem)
        places, calls = search.places()
        best, boxes = images.clone(), search.grid[places[:, 0]]
        grade, lead = torch.full_like(labels, -1), problem.clean.new_full((len(images),), float("-inf"))
        stage, standing = torch.full_like(labels, STANDING), torch.arange(len(images), device=images.device)
        for attempt in range(places.shape[1]):
            here = search.grid[places[standing, attempt]]
            pictures, cost = search.attacked(self.attack, standing, here)
            value, now = search.graded(pictures, standing)
            calls[standing] += cost + 1
            better = (now > grade[standing]) | ((now == grade[standing]) & (value > lead[standing]))
            index, won = standing[better], now == 2
            best[index], boxes[index] = pictures[better], here[better]
            grade[index], lead[index] = now[better], value[better].to(lead)
            stage[standing[won]] = attempt
            standing = standing[~won]
            if len(standing) == 0:
                break
        return Record(best, stage.where(~problem.wrong, WRONG), calls, boxes)


class _Search:
    """The places of one batch, ranked for each image."""

    def __init__(self, settings: BestLocation, problem: Problem) -> None:
        self.settings, self.problem, self.images = settings, problem, problem.images
        rule, seed = inside(settings.attack, "target"), inside(settings.attack, "seed", 0)
        # With the seed of the attack inside, "random" is the class that the attack reaches for.
        wins = inside(settings.attack, "wins", "target")
        self.goal = problem.goal(rule, seed=seed, name="BestLocation target", wins=wins)
        self.grid = settings.grid(self.images)
        if settings.probe == "gray":
            self.fill = self.images.new_full((1, *self.images.shape[1:]), 0.5)
        else:
            generator = torch.Generator().manual_seed(settings.seed)
            self.fill = torch.rand(1, *self.images.shape[1:], generator=generator).to(self.images)

    def places(self) -> tuple[Tensor, Tensor]:
        """For each image its best places in the grid, best first, (N, tries), and what it cost, (N,)."""
        settings, n = self.settings, len(self.images)
        if settings.race is not None:
            ran = settings.race.run(self.problem)
            return ran.places[:, : settings.tries], ran.record.calls
        if settings.shortlist is None:
            candidates = torch.arange(len(self.grid), device=self.grid.device).expand(n, -1)
        else:
            candidates = self._steepest(settings.shortlist)
        scores, calls = self._scores(candidates, short=False)
        if settings.probe_steps:
            scores, more = self._scores(candidates, short=True)
            calls = calls + more
        tries = min(settings.tries, candidates.shape[1])
        return candidates.gather(1, scores.topk(tries, dim=1).indices), calls

    def _steepest(self, count: int) -> Tensor:
        """For each image the windows with the largest sum of squared gradients, indices into the grid (N, count)."""
        loss = self.settings.loss
        gradient = self.problem.clean_gradient(lambda logits: self.goal.objective(loss, logits))
        return steepest(gradient, self.grid, count)

    def _scores(self, candidates: Tensor, *, short: bool) -> tuple[Tensor, Tensor]:
        """The objective at each image's candidates, (N, K), by the probe or a short attack, and the calls (N,)."""
        n, count = candidates.shape
        image = torch.arange(n, device=candidates.device).repeat_interleave(count)
        boxes = self.grid[candidates.flatten()]
        scores, calls = self.problem.clean.new_zeros(n * count), torch.zeros_like(image)
        attack = replace_inside(self.settings.attack, steps=self.settings.probe_steps) if short else None
        for first in range(0, n * count, self.settings.chunk):
            part = slice(first, first + self.settings.chunk)
            where = image[part], boxes[part]
            pictures, cost = self.probed(*where) if attack is None else self.attacked(attack, *where)
            scores[part] = self.graded(pictures, image[part])[0].to(scores)
            calls[part] = cost + 1
        return scores.view(n, count), calls.view(n, count).sum(dim=1)

    def probed(self, image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Images (M,) with the probe in boxes (M, 4); it costs no call."""
        mask = box_masks((self.images.shape[-2], self.images.shape[-1]), boxes).bool()
        return torch.where(mask, self.fill, self.images[image]), torch.zeros_like(image)

    def attacked(self, attack: Attack, image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """What the attack makes of images (M,) with a patch in boxes (M, 4), and how often the model saw each."""
        mask = box_masks((self.images.shape[-2], self.images.shape[-1]), boxes)
        record = replace_inside(attack, mask=mask).search(self.problem.at(image))
        return record.adversarial.detach(), record.calls

    def graded(self, pictures: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """The objective of pictures of images (M,), and a grade: 2 where the attack has won, 1 for any wrong answer."""
        goal = self.goal.at(image)
        with torch.no_grad():
            logits = self.problem.model(pictures)
        return goal.objective(self.settings.loss, logits), goal.altered(logits).long() + goal.reached(logits)
