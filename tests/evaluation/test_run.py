import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from blurnet.attacks.ball.pgd import PGD
from blurnet.attacks.base import Attack, Record
from blurnet.balls import Ball
from blurnet.evaluation.images import Pool
from blurnet.evaluation.jobs import Job
from blurnet.evaluation.noise import ReplayNoise
from blurnet.evaluation.records import dissimilarity
from blurnet.evaluation.tables import Result, over_targets, robust, stage_counts, wrong_before
from blurnet.evaluation.threats import InBall, InMask, SquarePatch
from blurnet.transforms.base import Transform, adaptive, defend
from tests.evaluation.tiny_subject import (
    CLASSES,
    LIGHTNING,
    MASK,
    Blot,
    Counted,
    blot_jobs,
    evaluation,
    guess,
    labelled,
    run,
    shared_jobs,
    tiny_net,
    tiny_pool,
    trainer,
    victim_pool,
)

pytestmark = [pytest.mark.filterwarnings(text) for text in LIGHTNING]


def test_numbers_are_those_of_a_direct_loop(tmp_path):
    net, pool = tiny_net(), tiny_pool()
    module = evaluation(tmp_path)
    blot, staged, _ = run(module)
    images, labels = pool.read(range(7))
    correct = net(images).argmax(1) == labels
    assert 0 < int(correct.sum()) < 7
    adversarial, tries = guess(Blot(), net, images, labels)
    after = net(adversarial)
    assert blot.item.tolist() == list(range(7))
    assert torch.equal(blot.prediction[correct], after.argmax(1)[correct])
    torch.testing.assert_close(blot.confidence[correct], after.softmax(1).amax(1)[correct])
    assert torch.equal(blot.robust, correct & (tries > 3))
    assert blot.stage[~correct].tolist() == [-2] * int((~correct).sum())
    torch.testing.assert_close(blot.l2, (blot.kept - images).flatten(1).norm(dim=1))
    torch.testing.assert_close(blot.dissimilarity, dissimilarity(images, blot.kept))
    _, tries = guess(Blot(seed=1), net, images, labels)
    assert torch.equal(staged.calls[correct], tries.clamp(max=3)[correct] + 1)  # and the clean image
    expected = torch.where(tries > 3, -1, (tries > 1).long())
    assert torch.equal(staged.stage[correct], expected[correct])
    results = [Result(job, records) for job, records in zip(module.jobs, (blot, staged), strict=False)]
    assert sum(count.n for count in stage_counts(results[1])) == 7
    assert torch.equal(robust(results), blot.robust & staged.robust)
    assert torch.equal(wrong_before(results), ~correct)


def test_a_shared_noise_gives_the_numbers_of_a_direct_loop(tmp_path):
    net, victims, jobs = tiny_net(), victim_pool(), shared_jobs()
    found = run(evaluation(tmp_path, jobs, net, chunk=2))
    images, labels = victims.read(range(7))
    before = net(images).argmax(1)
    direct = jobs[0].attack.against(net, images, labels, [job.target for job in jobs]).adversarial
    for job, records, adversarial in zip(jobs, found, direct, strict=True):
        after = net(adversarial).argmax(1)
        assert torch.equal(records.altered, after != before)
        assert int((records.prediction == job.target).sum()) == int((after == job.target).sum())
        torch.testing.assert_close(records.dissimilarity, dissimilarity(images, adversarial), rtol=1e-4, atol=1e-6)
        assert records.noise.shape == (1, 3, 12, 12)
        assert len(records.kept) == 7
    table = over_targets([Result(job, records) for job, records in zip(jobs, found, strict=True)])
    assert table.average.asr.count == sum(row.asr.count for row in table.per_target)
    assert (table.average.asr.n, table.average.asr.groups) == (35, 7)  # an image under five targets is one group
    assert table.worst.asr.count == max(row.asr.count for row in table.per_target)
    assert 0 < table.average.asr.count < 35


def test_clean_images_are_only_answered(tmp_path):
    net, pool = tiny_net(), tiny_pool()
    (clean,) = run(evaluation(tmp_path, [Job("clean", None, pool)]))
    images, labels = pool.read(range(7))
    assert torch.equal(clean.correct_before, net(images).argmax(1) == labels)
    assert clean.calls.tolist() == [0] * 7
    assert torch.equal(clean.prediction, clean.clean_prediction)


def test_calls_of_an_attack_without_a_count_of_its_own(tmp_path):
    blot, *_ = run(evaluation(tmp_path))
    attacked = blot.correct_before
    assert set(blot.calls[attacked].tolist()) == {5}  # three tries, the last look and the clean image
    assert set(blot.calls[~attacked].tolist()) == {0}


def test_the_clean_answers_serve_the_attack(tmp_path):
    """The evaluation answers each image once before and once after; the attack asks for no clean image again."""
    seen: list[torch.Tensor] = []
    net = tiny_net()
    net.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[0]))
    pool = labelled(tiny_net())
    module = evaluation(tmp_path, [Job("blot", Blot(seed=99), pool, SquarePatch(0.25))], net)
    seen.clear()
    run(module)
    images, _ = pool.read(range(len(pool)))
    counts = [sum(bool(torch.equal(image, other)) for other in seen) for image in images]
    stands = [bool((image == kept).all()) for image, kept in zip(images, module.records(0).kept, strict=True)]
    # A blot that never succeeded is returned as the clean image, which is then judged: by the attack and at the end.
    assert counts == [3 if stood else 1 for stood in stands]


@pytest.mark.parametrize("kind", ["images", "targets"])
def test_finished_parts_are_not_repeated(tmp_path, monkeypatch, kind):
    jobs = blot_jobs if kind == "images" else shared_jobs
    first = run(evaluation(tmp_path, jobs(), chunk=2))
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.safetensors")}
    assert len(files) == (12 if kind == "images" else 5)
    lost = sorted(files)[2]
    content = lost.read_bytes()
    lost.unlink()
    again, made = evaluation(tmp_path, jobs(), chunk=2), []
    whole = again._do
    monkeypatch.setattr(again, "_do", lambda *part: (made.append(part[0]), whole(*part))[1])
    second = run(again)
    assert len(made) == 1
    assert lost.read_bytes() == content
    remade = {again.names[number] for number in made[0].jobs}
    kept = [path for path in files if path.parent.name not in remade or kind == "images"]
    assert all(path.stat().st_mtime_ns == files[path] for path in kept if path != lost)
    for a, b in zip(first, second, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_larger_set_holds_one_shard_at_a_time(tmp_path):
    dataset = Counted(40)
    found = run(evaluation(tmp_path, blot_jobs(Pool(dataset, CLASSES, "counted", shard=4)), keep=3))
    assert dataset.most <= 8 + 1  # a part, and the next that the loader has read
    assert [len(records.kept) for records in found] == [3, 3, 3]
    assert len(found[0].label) == 40


def test_other_settings_do_not_reuse_work(tmp_path):
    base = evaluation(tmp_path)
    variants = [
        base,
        evaluation(tmp_path, net=tiny_net(1)),
        evaluation(tmp_path, blot_jobs(tiny_pool(shard=3))),
        evaluation(tmp_path, blot_jobs(tiny_pool(8))),
        evaluation(tmp_path, keep=1),
        evaluation(tmp_path, attacked=nn.Sequential(base.net)),
        evaluation(tmp_path, blot_jobs(tries=4)),
    ]
    assert len({variant.names[0] for variant in variants}) == len(variants)
    assert evaluation(tmp_path).names == base.names
    shared = [
        evaluation(tmp_path, shared_jobs()),
        evaluation(tmp_path, shared_jobs(), tiny_net(1)),
        evaluation(tmp_path, shared_jobs(victims=victim_pool(6))),
        evaluation(tmp_path, shared_jobs(steps=6)),
        evaluation(tmp_path, shared_jobs(), chunk=3),
        evaluation(tmp_path, shared_jobs(source=tiny_net(1))),
    ]
    assert len({variant.names[0] for variant in shared}) == len(shared)


def test_work_of_other_images_is_refused(tmp_path):
    run(evaluation(tmp_path))
    other = evaluation(tmp_path)
    shifted = Counted(8)
    shifted.n = 7
    shifted.__class__ = type("Shifted", (Counted,), {"__getitem__": lambda self, i: Counted.__getitem__(self, i + 1)})
    other.jobs[0].images.dataset = shifted
    with pytest.raises(ValueError, match="made of other images than these"):
        run(other)


def test_transfer_is_the_sources_attack_on_this_net(tmp_path):
    source, net, (images, labels) = tiny_net(3), tiny_net(), victim_pool().read(range(7))
    jobs = shared_jobs((0, 4), source=source)
    found = run(evaluation(tmp_path, jobs, net))
    adversarial = jobs[0].attack.against(source, images, labels, (0, 4)).adversarial
    want = [int((net(a).argmax(1) != net(images).argmax(1)).sum()) for a in adversarial]
    assert [int(records.altered.sum()) for records in found] == want
    assert jobs[0].title == "rp2 from other"


def test_replayed_noise_gives_the_numbers_of_the_attack(tmp_path):
    jobs = shared_jobs((0, 4))
    found = run(evaluation(tmp_path, jobs))
    replay = ReplayNoise(torch.cat([records.noise for records in found]), MASK, "file", (0, 4))
    replayed = run(evaluation(tmp_path, [dataclasses.replace(job, attack=replay) for job in jobs]))
    for a, b in zip(found, replayed, strict=True):
        assert torch.equal(a.prediction, b.prediction)
        assert torch.equal(a.dissimilarity, b.dissimilarity)


@dataclasses.dataclass(frozen=True)
class Cheat(Attack):
    """Adds to one pixel, however far that is allowed."""

    by: float = 0.5
    row: int = 11

    def search(self, problem):
        changed = problem.images.clone()
        changed[:, :, self.row, 0] = changed[:, :, self.row, 0] * (1 - self.by)
        changed[:, :, 0, 0] *= 1 - self.by
        return problem.record(changed)


CORNER = torch.zeros(1, 1, 12, 12)
CORNER[..., 0:2, 0:2] = 1


@pytest.mark.parametrize(
    ("threat", "good"),
    [
        (SquarePatch(0.25), Cheat(row=5)),
        (InMask("corner", CORNER), Cheat(row=1)),
        (InBall(Ball("linf", 0.1)), Cheat(0.05)),
    ],
    ids=["patch", "mask", "ball"],
)
def test_what_the_threat_does_not_allow_raises(tmp_path, threat, good):
    pool = labelled(tiny_net())
    run(evaluation(tmp_path, [Job("good", good, pool, threat)]))
    cheat = evaluation(tmp_path, [Job("cheat", Cheat(), pool, threat)])
    with pytest.raises(ValueError, match=r"cheat, from image 0 of labelled: the attack changed more than .* 0, 1 of"):
        run(cheat)


@dataclasses.dataclass(frozen=True)
class NoImage(Attack):
    """Returns what is no image."""

    how: str = "range"

    def search(self, problem):
        x = problem.images
        made = {"range": x + 2, "nan": x * float("nan"), "count": x[:1]}[self.how]
        return problem.record(x)._replace(adversarial=made)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("range", r"left \[0, 1\] on images 0, 1"),
        ("nan", r"left \[0, 1\]"),
        ("count", "the attack returned"),
    ],
)
def test_what_is_no_image_raises(tmp_path, how, message):
    module = evaluation(tmp_path, [Job("none", NoImage(how), labelled(tiny_net()), InBall(Ball("linf", 1)))])
    with pytest.raises(ValueError, match=message):
        run(module)


@dataclasses.dataclass(frozen=True)
class Boast(Attack):
    """Claims to have broken everything and changes nothing."""

    def search(self, problem):
        return Record(problem.images, torch.zeros_like(problem.labels), problem.average_calls(), problem.no_box())


def test_no_attack_is_taken_at_its_word(tmp_path):
    (records,) = run(evaluation(tmp_path, [Job("boast", Boast(), labelled(tiny_net()), SquarePatch(0.25))]))
    assert bool(records.robust.all())
    assert records.stage.tolist() == [-1] * 6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: evaluation(folder, keep=-1), "keep from 0"),
        (lambda folder: evaluation(folder, chunk=0), "chunk from 1"),
        (lambda folder: evaluation(folder, []), "nothing to do"),
        (lambda folder: evaluation(folder, blot_jobs()[:1] * 2), "different names"),
        (lambda folder: evaluation(folder, blot_jobs(Pool(Counted(), (*CLASSES, "g"), "x"))), "x 7 classes"),
        (lambda folder: evaluation(folder, shared_jobs((2,))), r"target 2 \(c\) is the true class"),
        (lambda folder: evaluation(folder, shared_jobs((6,))), "out of range: the model's outputs are 0 to 5"),
        (lambda folder: shared_jobs((1, 1)), r"must be given and differ, got \[1, 1\]"),
        (lambda folder: shared_jobs(()), "must be given"),
    ],
)
def test_bad_settings(tmp_path, make, message):
    with pytest.raises(ValueError, match=message):
        make(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_missing_and_damaged_work_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="must see the same output folder"):
        evaluation(tmp_path).records(0)
    module = evaluation(tmp_path, shared_jobs((0,)))
    path = module.store.path(module.names[0], "target-000")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a file")
    with pytest.raises(ValueError, match=r"target-000\.safetensors"):
        run(module)


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [2, 5])
def test_two_processes_give_the_bytes_of_one(tmp_path, chunk):
    script = Path(__file__).with_name("two_processes.py")
    printed, files = [], []
    for devices in ("1", "2"):
        done = subprocess.run(
            [sys.executable, str(script), str(tmp_path / devices), devices, str(chunk)],
            capture_output=True, text=True, timeout=300, check=False,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout.strip().splitlines()[-1])
        made = sorted((tmp_path / devices).rglob("*.safetensors"))
        files.append({str(path.relative_to(tmp_path / devices)): path.read_bytes() for path in made})
    assert printed[0] == printed[1]
    assert len(files[0]) == 5 * 3 + 5
    assert files[0] == files[1]


class Rounded(Transform):
    """Two levels of gray: no gradient of its own."""

    differentiable = False

    def forward(self, x):
        return (x > 0.5).to(x)

    def surrogate(self, x):
        return x


class Shaken(Transform):
    """Noise that is new at every call."""

    differentiable, random = True, True

    def forward(self, x):
        return (x + 0.3 * torch.randn(1, *x.shape[1:], generator=self.generator())).clamp(0, 1)


def test_attacks_see_the_surrogate_and_the_plain_model_answers(tmp_path):
    net = defend(tiny_net(), Rounded())
    attack = PGD(Ball("linf", 0.3), steps=10, random_start=False)
    jobs = [Job("pgd", attack, labelled(net), InBall(Ball("linf", 0.3)))]
    (records,) = run(evaluation(tmp_path, jobs, net, attacked=adaptive(net)))
    assert int(records.robust.sum()) < 6
    with torch.no_grad():
        assert torch.equal(records.prediction, net(records.kept).argmax(1))
    with pytest.raises(RuntimeError, match="has no gradient of its own"):
        run(evaluation(tmp_path, jobs, net))


def test_a_shard_of_a_random_model_does_not_depend_on_those_before(tmp_path):
    net = defend(tiny_net(), Shaken())
    pool = labelled(tiny_net())
    for name in ("whole", "last"):
        (tmp_path / name).mkdir()
    whole, last = (evaluation(tmp_path / name, blot_jobs(pool)[:1], net) for name in ("whole", "last"))
    run(whole)
    alone = DataLoader(last.loader().dataset, batch_size=None, sampler=[2])
    trainer(last.folder).test(last, dataloaders=alone, verbose=False)
    paths = [module.store.path(module.names[0], "shard-00002") for module in (whole, last)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
