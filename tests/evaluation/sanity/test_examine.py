import json

import pytest
import torch
from torch import nn

from blurnet.balls import Ball
from blurnet.evaluation.jobs import Job
from blurnet.evaluation.sanity.examine import Examination, Examined, examinations, examine
from blurnet.evaluation.threats import InBall, InMask, Nearest, SquarePatch
from tests.evaluation.tiny_subject import Blot, blot_jobs, labelled, shared_jobs, tiny_net, tiny_pool

CPU = torch.device("cpu")


class Hard(nn.Module):
    """A hard quantiser in front of a net: its gradient is zero."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net((x * 3).round() / 3)


def examination(net: nn.Module, threat) -> Examination:
    images, labels = labelled(net, 16).read(range(16))
    return Examination(net, net, threat, images, labels)


@pytest.mark.parametrize("threat", [SquarePatch(0.25), InBall(Ball("linf", 0.1))], ids=["patch", "ball"])
def test_a_masked_gradient_is_flagged_and_an_honest_one_is_not(tmp_path, threat):
    honest, masked = examination(tiny_net(), threat), examination(Hard(tiny_net()), threat)
    rows = examine([honest, masked], tmp_path, CPU)
    assert [row.images for row in rows] == [16, 16]
    assert rows[0].flags == []
    assert "zero-gradient" in [flag.name for flag in rows[1].flags]
    assert rows[1].threat == threat.text


def test_checks_are_done_once(tmp_path, monkeypatch):
    one = examination(tiny_net(), InBall(Ball("linf", 0.1)))
    first = examine([one], tmp_path, CPU)
    monkeypatch.setattr("blurnet.evaluation.sanity.examine.check", lambda *_, **__: pytest.fail("checked again"))
    assert examine([examination(tiny_net(), InBall(Ball("linf", 0.1)))], tmp_path, CPU) == first
    assert len(list(tmp_path.rglob("sanity-*.json"))) == 1
    assert one.key() != examination(tiny_net(1), InBall(Ball("linf", 0.1))).key()


def test_a_model_that_is_always_wrong_has_nothing_to_check(tmp_path):
    one = examination(tiny_net(), SquarePatch(0.25))
    wrong = Examination(one.net, one.net, one.threat, one.images, (one.labels + 1) % 6)
    assert examine([wrong], tmp_path, CPU) == [Examined(one.threat.text, 0, [])]


def test_every_threat_is_listed_once():
    pool = tiny_pool()
    pgd = Job("pgd", Blot(), pool, InBall(Ball("linf", 0.1)))
    nearest = Job("nearest", Blot(), pool, Nearest())  # nothing to check
    jobs = [Job("clean", None, pool), *shared_jobs((0,)), *blot_jobs(pool), nearest, pgd]
    listed = examinations(jobs, tiny_net(), tiny_net(), 0, None)
    assert [type(one.threat) for one in listed] == [SquarePatch, InBall, InMask]
    assert len(listed[0].images) == 7
    assert examinations([Job("clean", None, pool)], tiny_net(), tiny_net(), 0, None) == []


def test_damaged_results_are_named(tmp_path):
    one = examination(tiny_net(), SquarePatch(0.25))
    path = tmp_path / "work" / f"sanity-{one.key()[:12]}.json"
    path.parent.mkdir()
    path.write_text(json.dumps([])[:1])
    with pytest.raises(ValueError, match=r"sanity-.*not JSON"):
        examine([one], tmp_path, CPU)
