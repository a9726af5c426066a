"""Questions to the records of an evaluation: worst case of each image, by threat, curves, averages over targets."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from blurnet.attacks.base import STANDING, WRONG
from blurnet.evaluation.jobs import Job
from blurnet.evaluation.records import LATE, Records
from blurnet.evaluation.report.parts import (
    Average,
    Curve,
    CurvePoint,
    StageCount,
    TargetRow,
    UniversalAttack,
    WorstTarget,
)
from blurnet.evaluation.threats import Nearest
from blurnet.rates import Rate

#: Cells of the location map at most, along each side.
CELLS = 32


class Result(NamedTuple):
    """A finished job with what it left behind."""

    job: Job
    records: Records


def rate(flags: Tensor, results: Sequence[Result]) -> Rate:
    """The share of true entries of (n,) bool, of the images that these results are about."""
    return Rate.over(flags, results[0].job.images.groups)


def main_results(results: Sequence[Result]) -> list[Result]:
    """Those that count for the worst case: all but the points of curves."""
    return [result for result in results if result.job.point is None]


def bound_results(results: Sequence[Result]) -> list[Result]:
    """The main results of attacks that are bound to a patch, a mask or a ball; all of them where none is."""
    main = main_results(results)
    return [result for result in main if not isinstance(result.job.threat, Nearest)] or main


def robust(results: Sequence[Result]) -> Tensor:
    """Images answered correctly before any attack and after each of these, (n,) bool."""
    return torch.stack([result.records.robust for result in results]).all(0)


def certified(result: Result) -> Tensor:
    """Images of a job that certifies which no patch can break, (n,) bool."""
    return result.records.stage == STANDING


def wrong_before(results: Sequence[Result]) -> Tensor:
    """Images answered wrongly before any attack, (n,) bool."""
    return torch.stack([~result.records.correct_before for result in results]).any(0)


def stage_counts(result: Result) -> list[StageCount]:
    """How many images each stage broke, in order, and how many never were attacked or still stand."""
    stage = result.records.stage
    names = enumerate(result.job.stage_names)
    rows = [("wrong before any attack", WRONG), *((name, number) for number, name in names)]
    rows += [(LATE_NAME, LATE), ("still standing", STANDING)]
    counts = [StageCount(name, int((stage == number).sum())) for name, number in rows]
    return [count for count in counts if count.n or count.name != LATE_NAME]


LATE_NAME = "broken in the final judgement only"


def stage_name(result: Result, place: int) -> str | None:
    """What a line of samples.jsonl calls the stage of one image; None: still standing."""
    stage = int(result.records.stage[place])
    special = {STANDING: None, WRONG: "wrong before any attack", LATE: "final judgement"}
    return special[stage] if stage < 0 else result.job.stage_names[stage]


def by_threat(results: Sequence[Result]) -> list[tuple[str, list[Result]]]:
    """The main results grouped by what the attacks may change, in order of first appearance."""
    groups: dict[str, list[Result]] = {}
    for result in main_results(results):
        if result.job.threat is not None:
            groups.setdefault(result.job.threat.text, []).append(result)
    return list(groups.items())


def curves(results: Sequence[Result], proof: Callable[[Result], Result | None] = lambda _: None) -> list[Curve]:
    """Every curve that the jobs draw, the varied job itself among its points, in increasing order of the axis.

    Args:
        results: all of them.
        proof: gives the job that certifies the images of an attack against all that it may change, where there is one.
    """

    def drawn(value: float, result: Result) -> CurvePoint:
        proven = proof(result)
        edge = None if proven is None else rate(certified(proven), [proven])
        return CurvePoint(value, rate(result.records.robust, [result]), edge)

    found: dict[tuple[str, str], dict[float, CurvePoint]] = {}
    for result in results:
        point = result.job.point
        if point is not None:
            found.setdefault((point.attack, point.axis), {})[point.value] = drawn(point.value, result)
    for result in main_results(results):
        for axis, value in result.job.at:
            if (result.job.name, axis) in found:
                found[result.job.name, axis][value] = drawn(value, result)
    return [Curve(name, axis, [point for _, point in sorted(points.items())]) for (name, axis), points in found.items()]


def location_map(results: Sequence[Result], size: tuple[int, int]) -> list[list[float]] | None:
    """Share of the patches that broke an image over each pixel, averaged to at most 32 x 32 cells.

    Args:
        results: all of them; those of one free patch count.
        size: (H, W) of the images.

    Returns:
        Rows of values in [0, 1]; None where no patch broke an image.
    """
    total, count = torch.zeros(size[0] + 1, size[1] + 1), 0
    for result in main_results(results):
        records, threat = result.records, result.job.threat
        broken = (records.stage != WRONG) & ~records.robust & (records.box >= 0).all(1)
        if threat is not None and threat.local and bool(broken.any()):
            top, bottom, left, right = records.box[broken].unbind(1)
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


def over_targets(results: Sequence[Result]) -> UniversalAttack:
    """One attack with a shared noise over its targets, each a result over the same images."""
    rows = [_target_row(result) for result in results]
    first, images = results[0].job, len(results[0].records.label)
    # One image under several targets is no new image: its tries are resampled together.
    groups: Sequence[object] = first.images.groups or range(images)
    together = Average(
        asr=Rate.over(torch.cat([result.records.altered for result in results]), [*groups] * len(rows)),
        targeted=_targeted(results, groups),
        dissimilarity=round(sum(_mean_dissimilarity(result) for result in results) / len(results), 6),
    )
    worst = max(rows, key=lambda row: row.asr.value)
    return UniversalAttack(
        name=first.name,
        repr=repr(first.attack),
        seed=first.seed,
        source=first.source_name,
        targets=[result.job.target for result in results],
        per_target=rows,
        average=together,
        worst=WorstTarget(worst.target, worst.name, worst.asr),
    )


def target_name(target: int | None, classes: Sequence[str]) -> str:
    """What reports call a target."""
    return "untargeted" if target is None else classes[target]


def _target_row(result: Result) -> TargetRow:
    job, records = result.job, result.records
    reached = None if job.target is None else rate(records.prediction == job.target, [result])
    name = target_name(job.target, job.images.classes)
    return TargetRow(job.target, name, rate(records.altered, [result]), reached, round(_mean_dissimilarity(result), 6))


def _targeted(results: Sequence[Result], groups: Sequence[object]) -> Rate | None:
    aimed = [(r.records.prediction, r.job.target) for r in results if r.job.target is not None]
    if not aimed:
        return None
    reached = torch.cat([prediction == torch.tensor(target) for prediction, target in aimed])
    return Rate.over(reached, [*groups] * len(aimed))


def _mean_dissimilarity(result: Result) -> float:
    values = result.records.dissimilarity.double()
    return float(values.sum()) / len(values)
