"""What there is to do: jobs, their parts, what is refused before any work."""

import dataclasses

import pytest
import torch
from torch import nn

from blurnet.attacks.base import Attack
from blurnet.evaluation.jobs import Job, Part, check_jobs, parts_of, universal_jobs
from blurnet.evaluation.threats import InMask, SquarePatch
from tests.evaluation.sample_jobs import jobs
from tests.evaluation.tiny_subject import blot_jobs, shared_jobs, tiny_net, tiny_pool, victim_pool


@dataclasses.dataclass(frozen=True)
class OneForAll(Attack):
    """All images share what it makes."""

    universal = True

    def search(self, problem):
        return problem.record(problem.images)


def test_curves_vary_size_and_steps_where_an_attack_has_them():
    made = jobs("lavan,pgd", areas=[0.05, 0.1], steps=[3, 9])
    named = {job.name: job for job in made}
    assert list(named) == ["lavan", "lavan area 0.05", "lavan steps 9", "pgd", "pgd steps 9"]
    assert named["lavan"].at == (("area", 0.1), ("steps", 3))
    assert named["lavan"].point is None
    assert named["lavan area 0.05"].point == ("lavan", "area", 0.05)
    assert named["lavan area 0.05"].threat == SquarePatch(0.05)
    assert named["pgd steps 9"].attack.steps == 9


def test_a_part_is_a_shard_or_some_targets_side_by_side():
    assert parts_of(blot_jobs(tiny_pool(7, shard=3))[:2], 4) == [Part((job,), i) for job in (0, 1) for i in range(3)]
    assert parts_of(shared_jobs((0, 1, 3, 4, 5)), 2) == [Part((0, 1), 0), Part((2, 3), 0), Part((4,), 0)]
    mixed = [*blot_jobs(tiny_pool(4, shard=2))[:1], *shared_jobs((0, 1, 3)), *shared_jobs((4,))]
    assert parts_of(mixed, 3) == [Part((0,), 0), Part((0,), 1), Part((1, 2, 3), 0), Part((4,), 0)]
    assert parts_of([], 3) == []


def test_only_targets_of_one_attack_on_one_model_stand_side_by_side():
    noise, transferred = shared_jobs((0, 1)), shared_jobs((0, 1), source=tiny_net(1))
    same_attack = [dataclasses.replace(job, attack=noise[0].attack) for job in transferred]
    assert parts_of([*noise, *same_attack], 4) == [Part((0, 1), 0), Part((2, 3), 0)]
    assert parts_of([*noise, *shared_jobs((0, 1))], 4) == [Part((0, 1), 0), Part((2, 3), 0)]
    own = [Job(name, OneForAll(), tiny_pool(5, shard=2), SquarePatch(0.1)) for name in "ab"]
    assert parts_of(own, 4) == [Part((0,), 0), Part((1,), 0)]


def test_files_of_a_part():
    images, targets = blot_jobs(), shared_jobs((None, 3))
    assert Part((0,), 12).names(images) == ["shard-00012"]
    assert Part((0, 1), 0).names(targets) == ["untargeted", "target-003"]


def test_names_of_a_job_and_its_stages():
    blot, staged, _ = blot_jobs()
    assert (blot.title, blot.seed, blot.stage_names, blot.universal) == ("blot", 0, ("blot",), False)
    assert staged.stage_names == ("first", "rest")
    assert (shared_jobs((0,), source=tiny_net(1))[0].title, Job("clean", None, tiny_pool()).seed) == (
        "rp2 from other",
        None,
    )


def test_the_identity_is_of_all_but_the_target():
    job = shared_jobs((0,))[0]
    assert dataclasses.replace(job, target=4).identity(2) == job.identity(2)
    others = [
        dataclasses.replace(job, source=tiny_net(1)),
        dataclasses.replace(job, threat=SquarePatch(0.1)),
        dataclasses.replace(job, name="other"),
        dataclasses.replace(job, images=victim_pool(6)),
        shared_jobs((0,), lam=0.1)[0],
    ]
    assert len({job.identity(2), job.identity(3), *(other.identity(2) for other in others)}) == 7


@pytest.mark.parametrize("targets", [(), (1, 1), (None, None)])
def test_targets_are_given_and_differ(targets):
    with pytest.raises(ValueError, match="rp2: targets must be given and differ"):
        universal_jobs("rp2", shared_jobs()[0].attack, victim_pool(), SquarePatch(0.1), targets)


def test_jobs_are_checked_before_any_work():
    assert check_jobs(blot_jobs(), tiny_net()) == 6
    with pytest.raises(ValueError, match=r"expected logits \(N, classes\)"):
        check_jobs(blot_jobs(), nn.Conv2d(3, 6, 3))
    with pytest.raises(ValueError, match="mask small: "):
        check_jobs([dataclasses.replace(blot_jobs()[0], threat=InMask("small", torch.ones(1, 1, 4, 4)))], tiny_net())
