"""Worst cases, curves, places and averages against counts by hand."""

from collections.abc import Sequence

import pytest
import torch

from blurnet.attacks.base import STANDING, WRONG
from blurnet.balls import Ball
from blurnet.evaluation.images import Pool
from blurnet.evaluation.jobs import Job, Point
from blurnet.evaluation.records import LATE, Records
from blurnet.evaluation.report.parts import StageCount
from blurnet.evaluation.tables import (
    Result,
    bound_results,
    by_threat,
    curves,
    location_map,
    main_results,
    over_targets,
    robust,
    stage_counts,
    stage_name,
    wrong_before,
)
from blurnet.evaluation.threats import InBall, InMask, Nearest, SquarePatch
from blurnet.rates import Rate
from tests.evaluation.tiny_subject import CLASSES, LIGHTNING, Blot, Counted, Staged, evaluation, run, shared_jobs

pytestmark = [pytest.mark.filterwarnings(text) for text in LIGHTNING]

POOL = Pool(Counted(6), CLASSES, "counted")  # three tracks of two images
TRACKS = ["track 0", "track 0", "track 1", "track 1", "track 2", "track 2"]
PATCH = SquarePatch(0.25)


def records(answers: Sequence[int], clean: Sequence[int] = (0,) * 6, **columns: object) -> Records:
    """Of six images of class 0: the answers after the attack and before it."""
    n = len(answers)
    given = {
        "item": torch.arange(n),
        "label": torch.zeros(n, dtype=torch.long),
        "clean_prediction": torch.tensor(clean),
        "prediction": torch.tensor(answers),
        "stage": torch.tensor([WRONG if c else 0 if a else STANDING for a, c in zip(answers, clean, strict=True)]),
        "box": torch.full((n, 4), -1),
        "dissimilarity": torch.zeros(n),
    }
    values = given | {name: torch.as_tensor(value) for name, value in columns.items()}
    return Records(**{name: values.get(name, torch.zeros(n)) for name in Records._fields})


def result(name: str, found: Records, threat=PATCH, **settings: object) -> Result:
    return Result(Job(name, Blot(), POOL, threat, **settings), found)


def test_what_goes_any_distance_counts_for_no_worst_case_beside_others():
    bound, free = result("a", records([0] * 6)), result("b", records([1] * 6), Nearest())
    point = result("c", records([1] * 6), point=Point("a", "area", 0.5))
    assert bound_results([free, bound, point]) == [bound]
    assert bound_results([free]) == [free]


def test_the_worst_case_is_of_each_image():
    one, two = records([0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1]), records([0, 0, 2, 0, 0, 3], [0, 0, 0, 0, 0, 1])
    both = [result("a", one), result("b", two)]
    assert robust(both).tolist() == [True, False, False, True, True, False]
    assert wrong_before(both).tolist() == [False] * 5 + [True]


def test_threats_are_told_apart_in_the_order_they_come():
    ball = InBall(Ball("linf", 0.1))
    results = [
        result("clean", records([0] * 6), None),
        result("pgd", records([0] * 6), ball),
        result("patch", records([0] * 6)),
        result("patch area 0.5", records([1] * 6), point=Point("patch", "area", 0.5)),
        result("fgsm", records([0] * 6), InBall(Ball("linf", 0.1))),
    ]
    found = [(text, [r.job.name for r in group]) for text, group in by_threat(results)]
    assert found == [(ball.text, ["pgd", "fgsm"]), (PATCH.text, ["patch"])]
    assert [r.job.name for r in main_results(results)] == ["clean", "pgd", "patch", "fgsm"]


def test_a_curve_holds_its_attack_and_rises_along_the_axis():
    results = [
        result("blot", records([0, 0, 0, 1, 1, 1]), at=(("area", 0.1), ("steps", 5))),
        result("pgd", records([1] * 6), at=(("steps", 5),)),
        result("blot area 0.2", records([1] * 6), point=Point("blot", "area", 0.2)),
        result("blot area 0.05", records([0, 0, 0, 0, 0, 1]), point=Point("blot", "area", 0.05)),
    ]
    (curve,) = curves(results)  # no steps were varied
    assert (curve.attack, curve.axis) == ("blot", "area")
    assert [(point.value, point.robust.count) for point in curve.points] == [(0.05, 5), (0.1, 3), (0.2, 0)]
    flags = torch.tensor([True, True, True, False, False, False])
    assert curve.points[1].robust == Rate.over(flags, TRACKS)
    assert curve.points[1].robust.groups == 3
    assert curves(results[:2]) == []


def test_places_are_those_of_the_patches_that_broke_an_image():
    boxes = [[0, 2, 0, 2], [1, 4, 1, 3], [0, 4, 0, 4], [0, 4, 0, 4], [-1] * 4, [0, 4, 0, 4]]
    one = records([1, 1, 0, 0, 1, 1], [0, 0, 0, 0, 0, 1], box=boxes)  # two with a place, two stand, one wrong before
    elsewhere = records([0, 0, 2, 0, 0, 0], box=[[3, 4, 3, 4]] * 6)
    curve = result("c", records([1] * 6, box=[[0, 4, 0, 4]] * 6), point=Point("a", "area", 0.5))
    mask = result("m", records([1] * 6, box=[[0, 4, 0, 4]] * 6), InMask("box", torch.ones(1, 1, 4, 4)))
    wanted = torch.zeros(4, 4)
    for top, bottom, left, right in (boxes[0], boxes[1], [3, 4, 3, 4]):
        wanted[top:bottom, left:right] += 1 / 3
    found = location_map([result("a", one), result("b", elsewhere), curve, mask], (4, 4))
    torch.testing.assert_close(torch.tensor(found), wanted, rtol=0, atol=1e-4)
    assert location_map([result("a", records([0] * 6, box=boxes)), curve, mask], (4, 4)) is None


def test_a_large_image_has_32_cells_a_side():
    tall = records([1, 0, 0, 0, 0, 0], box=[[0, 1, 0, 16]] + [[-1] * 4] * 5)
    found = torch.tensor(location_map([result("a", tall)], (64, 32)))
    wanted = torch.zeros(32, 32)
    wanted[0, :16] = 0.5  # the upper row of two
    assert torch.equal(found, wanted)


def test_stages_are_counted_and_named():
    stage = torch.tensor([WRONG, 0, 1, 1, STANDING, LATE])
    job = Job("staged", Staged(Blot()), POOL, PATCH)
    found = Result(job, records([1, 1, 1, 1, 0, 1], stage=stage))
    assert stage_counts(found) == [
        StageCount("wrong before any attack", 1),
        StageCount("first", 1),
        StageCount("rest", 2),
        StageCount("broken in the final judgement only", 1),
        StageCount("still standing", 1),
    ]
    names = ["wrong before any attack", "first", "rest", "rest", None, "final judgement"]
    assert [stage_name(found, place) for place in range(6)] == names
    plain = stage_counts(result("blot", records([1, 0, 0, 0, 0, 0])))
    assert [(count.name, count.n) for count in plain] == [
        ("wrong before any attack", 0),
        ("blot", 1),
        ("still standing", 5),
    ]


def test_an_average_over_targets_resamples_what_repeats():
    first = records([1, 1, 1, 2, 0, 0], [0, 0, 0, 0, 0, 1], dissimilarity=[0.1] * 6)  # five altered, three on target
    second = records([2, 2, 1, 0, 0, 2], dissimilarity=[0.0, 0.3, 0.3, 0.3, 0.3, 0.3])  # four altered, three on target
    pair = [result("rp2", first, target=1, source_name="other"), result("rp2", second, target=2, source_name="other")]
    table = over_targets(pair)
    assert [(row.target, row.name, row.asr.count, row.targeted.count) for row in table.per_target] == [
        (1, "b", 5, 3),
        (2, "c", 4, 3),
    ]
    altered = torch.tensor([1, 1, 1, 1, 0, 1, 1, 1, 1, 0, 0, 1]).bool()
    assert table.average.asr == Rate.over(altered, TRACKS * 2)
    assert (table.average.asr.count, table.average.asr.n, table.average.asr.groups) == (9, 12, 3)
    assert (table.average.targeted.count, table.average.targeted.groups) == (6, 3)
    assert [row.dissimilarity for row in table.per_target] == [0.1, 0.25]
    assert table.average.dissimilarity == 0.175
    assert (table.worst.target, table.worst.name, table.worst.asr) == (1, "b", table.per_target[0].asr)
    assert (table.name, table.source, table.targets) == ("rp2", "other", [1, 2])


def test_without_tracks_an_image_is_what_repeats():
    alone = Pool([(torch.zeros(3, 2, 2), 0)] * 6, CLASSES, "alone")
    found = [Result(Job("rp2", Blot(), alone, PATCH, target), records([1, 1, 0, 0, 2, 0])) for target in (1, 2)]
    table = over_targets(found)
    assert (table.average.asr.n, table.average.asr.groups) == (12, 6)
    assert table.per_target[0].asr == Rate.of(3, 6)


def test_untargeted_has_no_targeted_rate(tmp_path):
    jobs = shared_jobs((None,))
    table = over_targets([Result(jobs[0], run(evaluation(tmp_path, jobs))[0])])
    assert (table.average.targeted, table.per_target[0].targeted, table.per_target[0].name) == (
        None,
        None,
        "untargeted",
    )
