"""A report from a finished evaluation: its numbers against the records, the same bytes again."""

import pytest
import torch

from blurnet.evaluation.config import EvaluationConfig
from blurnet.evaluation.jobs import Job
from blurnet.evaluation.model import of_module
from blurnet.evaluation.render.html import report_html
from blurnet.evaluation.render.summary import summary
from blurnet.evaluation.report.make import About, make_report
from blurnet.evaluation.sanity.examine import Examined
from blurnet.evaluation.sanity.flags import Flag
from blurnet.evaluation.threats import Nearest, SquarePatch
from blurnet.rates import Rate
from tests.evaluation.tiny_subject import LIGHTNING, Blot, blot_jobs, evaluation, run, shared_jobs, tiny_net, tiny_pool

pytestmark = [pytest.mark.filterwarnings(text) for text in LIGHTNING]
ABOUT = About("python evaluate.py", of_module(tiny_net(), "tiny"), EvaluationConfig(), "stickers")


def test_numbers_are_those_of_the_records(tmp_path):
    pool = tiny_pool()
    module = evaluation(tmp_path, [Job("clean", None, pool), *blot_jobs(pool)], keep=2)
    _, blot, staged, point = run(module)
    report = make_report(module, ABOUT, None)
    correct, groups = blot.correct_before, [f"track {i // 2}" for i in range(7)]
    assert report.clean == report.per_image.clean == Rate.over(correct, groups)
    assert report.robust == Rate.over(blot.robust & staged.robust, groups)
    first, second = report.per_image.attacks
    broken = correct & ~blot.robust
    assert (first.name, second.name) == ("blot", "staged")
    assert (first.success.count, first.success.n) == (int(broken.sum()), int(correct.sum()))
    assert first.calls.total == int(blot.calls.sum())
    assert first.distance.l2 == pytest.approx(float(blot.l2[broken].mean()), abs=1e-6)
    assert [(p.value, p.robust.count) for p in report.per_image.curves[0].points] == [
        (0.1, int(point.robust.sum())),
        (0.25, int(blot.robust.sum())),
    ]
    assert [line.curve for line in report.record_attacks] == [False, False, True]
    assert [row.robust for row in report.records] == torch.cat([blot.robust, staged.robust, point.robust]).tolist()
    assert [len(pictures) for _, pictures in report.gallery] == [3 if right else 1 for right in correct[:2]]
    assert (report.sanity, report.flags, report.data.n, report.data.groups) == (None, [], 7, 4)
    assert make_report(module, ABOUT, None).to_json() == report.to_json()


def test_a_flag_stands_once_with_the_first_threat_that_raised_it(tmp_path):
    module = evaluation(tmp_path, [Job("clean", None, tiny_pool())])
    run(module)
    zero, noise = Flag("zero", "why", "what", {"n": 1}), Flag("noise", "why", "what", {})
    report = make_report(module, ABOUT, [Examined("a ball", 7, [zero]), Examined("a patch", 5, [noise, zero])])
    assert [(flag.name, flag.threat) for flag in report.flags] == [("zero", "a ball"), ("noise", "a patch")]
    assert [(row.threat, row.images, row.flags) for row in report.sanity] == [
        ("a ball", 7, ["zero"]),
        ("a patch", 5, ["noise", "zero"]),
    ]
    assert (report.robust, report.per_image, report.attacks, report.gallery) == (None, None, [], [])


def test_targets_of_a_shared_noise_are_one_attack(tmp_path):
    jobs = [*shared_jobs((0, 4)), *shared_jobs((0,), source=tiny_net(3))]
    victims = Job("victims", None, jobs[0].images)
    module = evaluation(tmp_path, [victims, *jobs], keep=7)
    found = run(module)
    report = make_report(module, ABOUT, None)
    assert [attack.targets for attack in report.attacks] == [[0, 4]]
    assert (report.transfer.source, report.transfer.targets) == ("other", [0])
    assert (report.victims.name, report.victims.n, report.victims.mask) == ("tiny", 7, "stickers")
    worst = found[1] if report.attacks[0].worst.target == 0 else found[2]
    assert torch.equal(report.victim_pictures.adversarial, worst.kept)
    assert torch.equal(report.victim_pictures.after, worst.prediction)
    assert {row.attack for row in report.records} == {"rp2", "rp2 from other"}


def test_an_attack_at_any_distance_stands_beside_the_worst_case(tmp_path):
    pool = tiny_pool()
    patch, near = Job("blot", Blot(tries=1), pool, SquarePatch(0.25)), Job("near", Blot(tries=9), pool, Nearest())
    module = evaluation(tmp_path, [patch, near])
    blot, _ = run(module)
    report = make_report(module, ABOUT, None)
    part = report.per_image
    assert part.robust == Rate.over(blot.robust, [f"track {i // 2}" for i in range(7)])
    assert [row.threat for row in part.by_threat] == [SquarePatch(0.25).text, Nearest().text]
    assert ([a.name for a in part.bound], [a.name for a in part.beside]) == (["blot"], ["near"])
    assert "the worst case of each image over one attack" in summary(report)
    went = f"mean L2 distance of what it broke: {part.attacks[1].distance.l2:.3g}"
    assert f"near goes as far as it must and counts for no worst case; {went}" in summary(report)
    assert "near goes as far as it must and counts for none." in report_html(report)
