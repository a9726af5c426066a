"""Random search on an attack's objective: propose a change, keep it where it does not hurt."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from blurnet.attacks.base import Problem, Record
from blurnet.attacks.engine.goal import Goal

#: After so many steps the share of the image or patch that one change covers is halved once more.
#: Source: Andriushchenko et al. 2020, section 3.1, which gives them for 10,000 steps.
MILESTONES = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


class Proposer(ABC):
    """What the search stands at, one row an image, and how it moves; no row's moves depend on the others.

    What is drawn is the same for every row and depends on the seed and the number of steps alone.
    """

    @abstractmethod
    def start(self) -> Tensor:
        """The images at the beginning, (rows, 3, H, W) in [0, 1]."""

    @abstractmethod
    def propose(self, step: int) -> Tensor:
        """The images after a random change, (rows, 3, H, W) in [0, 1]; ``step`` counts from 1."""

    @abstractmethod
    def accept(self, rows: Tensor) -> None:
        """Go to the last proposal where ``rows`` (rows,) is true."""

    @abstractmethod
    def keep(self, rows: Tensor) -> None:
        """Forget all rows but those where ``rows`` (rows,) is true."""

    @abstractmethod
    def boxes(self) -> Tensor:
        """Where each row's patch lies, (rows, 4) int64, half-open; -1 where the whole image may change."""


def coverage(first: float, step: int) -> float:
    """Share that the change of a step covers: ``first``, halved after each of :data:`MILESTONES`.

    It does not depend on how many steps there will be, so that a longer search begins as a shorter one.
    """
    return first / 2.0 ** sum(step > milestone for milestone in MILESTONES)


def random_search(problem: Problem, goal: Goal, proposer: Proposer, steps: int, stop: bool) -> Record:
    """Climb the margin by random proposals, one query a step; the images it reaches.

    Args:
        problem: only the values of its model are used.
        goal: of its images.
        proposer: at its start, with a row for each image; used up.
        steps: proposals for each image.
        stop: an image leaves once it is clearly fooled.

    Returns:
        The record of one stage.
    """
    labels = problem.labels
    index, boxes = torch.arange(len(labels), device=labels.device), proposer.boxes()
    calls, fooled = torch.zeros_like(labels), torch.zeros_like(labels, dtype=torch.bool)
    found, best = proposer.start().clone(), problem.clean.new_full((len(labels),), -math.inf)
    with torch.no_grad():
        for step in range(steps + 1):
            images = proposer.propose(step) if step else proposer.start()
            logits = problem.model(images)
            calls[index] += 1
            value = goal.objective("margin", logits)
            # An equal value is taken too: on a plateau the search walks instead of standing.
            better = value >= best[index]
            if step:
                proposer.accept(better)
            taken = index[better]
            found[taken], boxes[taken] = images[better], proposer.boxes()[better]
            best[taken] = value[better].to(best)
            won = goal.clearly_reached(logits)
            fooled[index[won]] = True
            if stop and bool(won.any()):
                index, goal = index[~won], goal.at(~won)
                proposer.keep(~won)
            if not len(index):
                break
    return Record(found, problem.stages(fooled), calls, boxes)
