import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from blurnet.attacks.ball.pgd import PGD
from blurnet.attacks.base import Attack
from blurnet.balls import Ball
from blurnet.evaluation.judge import judge
from blurnet.evaluation.per_image import ImageCampaign, PerImage
from blurnet.evaluation.pool import Pool
from blurnet.evaluation.threats import InBall, InMask, SquarePatch
from blurnet.evaluation.worst_case import robust, stage_counts, wrong_before
from blurnet.transforms.base import Transform, adaptive, defend
from tests.evaluation.tiny_attacks import Blot, Counted, Staged, campaigns, guess, labelled, per_image, tiny_pool
from tests.evaluation.tiny_subject import CLASSES, LIGHTNING, tiny_net, trainer

pytestmark = [pytest.mark.filterwarnings(text) for text in LIGHTNING]


def run(module: PerImage):
    trainer(module.folder).test(module, dataloaders=module.job_loader(), verbose=False)
    return module.outcomes()


def test_numbers_are_those_of_a_direct_loop(tmp_path):
    net, pool = tiny_net(), tiny_pool()
    blot, staged, _ = run(per_image(tmp_path))
    images, labels = pool.read(range(7))
    right = net(images).argmax(1) == labels
    assert 0 < int(right.sum()) < 7
    adversarial, tries = guess(Blot(), net, images, labels)
    after = net(adversarial)
    assert blot.work.item.tolist() == list(range(7))
    assert torch.equal(blot.work.prediction[right], after.argmax(1)[right])
    torch.testing.assert_close(blot.work.confidence[right], after.softmax(1).amax(1)[right])
    assert torch.equal(blot.work.robust, right & (tries > 3))
    assert blot.work.stage[~right].tolist() == [-2] * int((~right).sum())
    torch.testing.assert_close(blot.work.l2, (blot.work.kept - images).flatten(1).norm(dim=1))
    _, tries = guess(Blot(seed=1), net, images, labels)
    assert torch.equal(staged.work.calls[right], 1 + tries.clamp(max=3)[right])  # the clean image, then the tries
    expected = torch.where(tries > 3, -1, (tries > 1).long())
    assert torch.equal(staged.work.stage[right], expected[right])
    assert sum(count for _, count in stage_counts(staged)) == 7
    assert torch.equal(robust([blot, staged]), blot.work.robust & staged.work.robust)
    assert torch.equal(wrong_before([blot, staged]), ~right)


def test_calls_of_an_attack_without_a_record_are_counted(tmp_path):
    blot, *_ = run(per_image(tmp_path))
    attacked = blot.work.clean_prediction == blot.work.label
    assert set(blot.work.calls[attacked].tolist()) == {5}  # the clean image, three tries, and one look at the result
    assert set(blot.work.calls[~attacked].tolist()) == {0}


def test_finished_shards_are_not_repeated(tmp_path, monkeypatch):
    first = run(per_image(tmp_path))
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("shard-*")}
    assert len(files) == 12
    lost = sorted(files)[5]
    content = lost.read_bytes()
    lost.unlink()
    again, made = per_image(tmp_path), []
    whole = again._attack
    monkeypatch.setattr(again, "_attack", lambda *job: (made.append(job[0]), whole(*job))[1])
    second = run(again)
    assert len(made) == 1
    assert lost.read_bytes() == content
    assert all(path.stat().st_mtime_ns == time for path, time in files.items() if path != lost)
    for a, b in zip(first, second, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a.work, b.work, strict=True))


def test_a_larger_set_holds_one_shard_at_a_time(tmp_path):
    dataset = Counted(40)
    module = per_image(tmp_path, pool=Pool(dataset, CLASSES, "counted", shard=4), keep=3)
    outcomes = run(module)
    assert dataset.most <= 4 + 1  # the next one is made while the last of the shard before is still referenced
    assert [len(outcome.work.kept) for outcome in outcomes] == [3, 3, 3]
    assert len(outcomes[0].work.label) == 40


def test_a_limit_is_a_fixed_selection(tmp_path):
    small, large = tiny_pool(50, limit=5).indices, tiny_pool(50, limit=20).indices
    assert len(small) == 5
    assert set(small) < set(large) < set(range(50))
    assert tiny_pool(7, limit=9).indices == list(range(7))
    (blot, *_) = run(per_image(tmp_path, pool=tiny_pool(50, limit=5)))
    assert blot.work.item.tolist() == small


def test_other_settings_do_not_reuse_work(tmp_path):
    base = per_image(tmp_path)
    variants = [
        base,
        per_image(tmp_path, net=tiny_net(1)),
        per_image(tmp_path, pool=tiny_pool(shard=3)),
        per_image(tmp_path, pool=tiny_pool(8)),
        per_image(tmp_path, keep=1),
        per_image(tmp_path, attacked=nn.Sequential(base.net)),
        PerImage(base.net, base.pool, campaigns(4), tmp_path),
    ]
    assert len({variant.names[0] for variant in variants}) == len(variants)
    assert per_image(tmp_path).names == base.names


def test_work_of_other_images_is_refused(tmp_path):
    run(per_image(tmp_path))
    other = per_image(tmp_path)
    shifted = Counted(8)
    shifted.n = 7
    shifted.__class__ = type("Shifted", (Counted,), {"__getitem__": lambda self, i: Counted.__getitem__(self, i + 1)})
    other.pool.dataset = shifted
    with pytest.raises(ValueError, match="made of other images than these"):
        run(other)


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


MASK = torch.zeros(1, 1, 12, 12)
MASK[..., 0:2, 0:2] = 1


@pytest.mark.parametrize(
    ("threat", "good"),
    [
        (SquarePatch(0.25), Cheat(row=5)),
        (InMask("corner", MASK), Cheat(row=1)),
        (InBall(Ball("linf", 0.1)), Cheat(0.05)),
    ],
    ids=["patch", "mask", "ball"],
)
def test_what_the_threat_does_not_allow_raises(threat, good):
    net = tiny_net()
    images, labels = tiny_pool().read(range(1, 4))
    judge(net, net, good, threat, images, labels)
    with pytest.raises(ValueError, match=r"the attack changed more than .* on images 0, 1, 2 of this shard"):
        judge(net, net, Cheat(), threat, images, labels)


def test_what_is_no_image_raises(tmp_path):
    net = tiny_net()
    images, labels = tiny_pool().read(range(1, 3))
    with pytest.raises(ValueError, match=r"left \[0, 1\] on images 0, 1"):
        judge(net, net, lambda m, x, y: x + 2, InBall(Ball("linf", 1)), images, labels)
    with pytest.raises(ValueError, match=r"left \[0, 1\]"):
        judge(net, net, lambda m, x, y: x * float("nan"), InBall(Ball("linf", 1)), images, labels)
    with pytest.raises(ValueError, match="the attack returned"):
        judge(net, net, lambda m, x, y: x[:1], InBall(Ball("linf", 1)), images, labels)
    cheat = PerImage(net, tiny_pool(), [ImageCampaign("cheat", Cheat(), SquarePatch(0.05))], tmp_path)
    with pytest.raises(ValueError, match="cheat, shard from image 0 of counted: the attack changed more"):
        run(cheat)


def test_an_attack_that_claims_too_much_is_judged_by_the_model():
    net = tiny_net()
    images, labels = tiny_pool().read(range(1, 4))

    class Boast(Attack):
        stage_names = ("boast",)

        def search(self, problem):
            found = Staged(Blot(tries=1)).search(problem)
            return found._replace(adversarial=problem.images, stage=torch.zeros_like(problem.labels))

    work, _ = judge(net, net, Boast(), SquarePatch(0.25), images, labels)
    assert bool(work.robust.all())
    assert work.stage.tolist() == [-1, -1, -1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: SquarePatch(0.0), "above 0 and at most 1, got 0.0"),
        (lambda folder: SquarePatch(1.5), "above 0 and at most 1, got 1.5"),
        (lambda folder: tiny_pool(limit=0), "at least 1 image, got 0"),
        (lambda folder: tiny_pool(0), "no images"),
        (lambda folder: per_image(folder, keep=-1), "keep: expected"),
        (lambda folder: PerImage(tiny_net(), tiny_pool(), campaigns()[:1] * 2, folder), "different names"),
        (lambda folder: per_image(folder, pool=Pool(Counted(), (*CLASSES, "g"), "x")), "x has 7 classes"),
    ],
)
def test_bad_settings(tmp_path, make, message):
    with pytest.raises(ValueError, match=message):
        make(tmp_path)


def test_missing_shards_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="must see the same output folder"):
        per_image(tmp_path).outcomes()


@pytest.mark.slow
def test_two_processes_give_the_bytes_of_one(tmp_path):
    # 11 images, 3 shards of each of 3 campaigns: 9 jobs do not divide by 2 processes.
    script = Path(__file__).with_name("two_processes_images.py")
    printed, files = [], []
    for devices in ("1", "2"):
        done = subprocess.run(
            [sys.executable, str(script), str(tmp_path / devices), devices],
            capture_output=True, text=True, timeout=300, check=False,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        printed.append(json.loads(done.stdout.strip().splitlines()[-1]))
        shards = sorted((tmp_path / devices).rglob("shard-*"))
        files.append({str(path.relative_to(tmp_path / devices)): path.read_bytes() for path in shards})
    assert len(printed[0]) == 1 + 3 * 11
    assert printed[0] == printed[1]
    assert len(files[0]) == 9
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
    pgd = ImageCampaign("pgd", PGD(Ball("linf", 0.3), steps=10, random_start=False), InBall(Ball("linf", 0.3)))
    module = PerImage(net, labelled(net), [pgd], tmp_path, attacked=adaptive(net))
    (outcome,) = run(module)
    assert int(outcome.work.robust.sum()) < 6
    with torch.no_grad():
        assert torch.equal(outcome.work.prediction, net(outcome.work.kept).argmax(1))
    with pytest.raises(RuntimeError, match="has no gradient of its own"):
        run(PerImage(net, labelled(net), [pgd], tmp_path))


def test_a_shard_of_a_random_model_does_not_depend_on_those_before(tmp_path):
    net = defend(tiny_net(), Shaken())
    pool = labelled(tiny_net())
    whole, last = (PerImage(net, pool, campaigns()[:1], tmp_path / name) for name in ("whole", "last"))
    for module in (whole, last):
        module.folder.mkdir()
    run(whole)
    trainer(last.folder).test(last, dataloaders=DataLoader([2], batch_size=None), verbose=False)
    paths = [module.store.path(module.names[0], 2) for module in (whole, last)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
