"""What the attacks on single images found together: for each image, the worst case over all of them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from blurnet.attacks.base import STANDING, WRONG
from blurnet.evaluation.per_image import Outcome
from blurnet.evaluation.shards import LATE
from blurnet.rates import Rate

#: Cells of the location map at most, along each side.
CELLS = 32


class Curve(NamedTuple):
    """Robust accuracy of one attack along an axis, in increasing order of it."""

    attack: str
    axis: str
    points: tuple[tuple[float, Rate], ...]


def main_outcomes(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those that count for the worst case: all but the points of curves."""
    return [outcome for outcome in outcomes if outcome.campaign.point is None]


def robust(outcomes: Sequence[Outcome]) -> Tensor:
    """Images answered rightly before any attack and after each of these, (n,) bool."""
    return torch.stack([outcome.work.robust for outcome in outcomes]).all(0)


def rate(flags: Tensor) -> Rate:
    """The share of true entries of (n,) bool."""
    return Rate.of(int(flags.sum()), len(flags))


def wrong_before(outcomes: Sequence[Outcome]) -> Tensor:
    """Images answered wrongly before any attack, (n,) bool."""
    return torch.stack([o.work.clean_prediction != o.work.label for o in outcomes]).any(0)


def stage_counts(outcome: Outcome) -> list[tuple[str, int]]:
    """How many images each stage broke, in order, and how many never were attacked or still stand."""
    stage = outcome.work.stage
    names = enumerate(outcome.campaign.stage_names)
    rows = [("wrong before any attack", WRONG), *((name, number) for number, name in names)]
    rows += [("broken in the final judgement only", LATE), ("still standing", STANDING)]
    counts = [(name, int((stage == number).sum())) for name, number in rows]
    return [(name, count) for name, count in counts if count or name != "broken in the final judgement only"]


def stage_name(outcome: Outcome, place: int) -> str | None:
    """What a line of samples.jsonl calls the stage of one image; None: still standing."""
    stage = int(outcome.work.stage[place])
    special = {STANDING: None, WRONG: "wrong before any attack", LATE: "final judgement"}
    return special[stage] if stage < 0 else outcome.campaign.stage_names[stage]


def by_threat(outcomes: Sequence[Outcome]) -> list[tuple[str, list[Outcome]]]:
    """The main campaigns grouped by what they may change, in order of first appearance."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in main_outcomes(outcomes):
        groups.setdefault(outcome.campaign.threat.text, []).append(outcome)
    return list(groups.items())


def curves(outcomes: Sequence[Outcome]) -> list[Curve]:
    """Every curve that the campaigns draw, the varied campaign itself among its points."""
    found: dict[tuple[str, str], dict[float, Rate]] = {}
    for outcome in outcomes:
        point = outcome.campaign.point
        if point is not None:
            found.setdefault((point.attack, point.axis), {})[point.value] = rate(outcome.work.robust)
    for outcome in main_outcomes(outcomes):
        for axis, value in outcome.campaign.at:
            if (outcome.campaign.name, axis) in found:
                found[outcome.campaign.name, axis][value] = rate(outcome.work.robust)
    return [Curve(name, axis, tuple(sorted(points.items()))) for (name, axis), points in found.items()]


def location_map(outcomes: Sequence[Outcome], size: tuple[int, int]) -> list[list[float]] | None:
    """Share of the patches that broke an image over each pixel, averaged to at most 32 x 32 cells.

    Args:
        outcomes: all campaigns; those of one free patch count.
        size: (H, W) of the images.

    Returns:
        Rows of values in [0, 1]; None where no patch broke an image.
    """
    total, count = torch.zeros(size[0] + 1, size[1] + 1), 0
    for outcome in main_outcomes(outcomes):
        broken = (outcome.work.stage != WRONG) & ~outcome.work.robust & (outcome.work.box >= 0).all(1)
        if outcome.campaign.threat.local and bool(broken.any()):
            top, bottom, left, right = outcome.work.box[broken].unbind(1)
            one = torch.ones(len(top))
            # Corners of the boxes; their running sum along both axes fills them.
            for rows, columns, sign in ((top, left, 1), (bottom, left, -1), (top, right, -1), (bottom, right, 1)):
                total.index_put_((rows, columns), sign * one, accumulate=True)
            count += len(top)
    if count == 0:
        return None
    share = total.cumsum(0).cumsum(1)[: size[0], : size[1]] / count
    cells = torch.nn.functional.adaptive_avg_pool2d(share[None], (min(size[0], CELLS), min(size[1], CELLS)))[0]
    return [[round(value, 4) + 0.0 for value in row] for row in cells.clamp(0, 1).tolist()]
