import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from blurnet.evaluation.campaign import ReplayNoise
from blurnet.evaluation.metrics import dissimilarity
from blurnet.evaluation.robustness import Robustness
from blurnet.rates import Rate
from tests.evaluation.tiny_subject import CLASSES, LIGHTNING, clean_set, tiny_campaign, tiny_net, tiny_victims, trainer

pytestmark = [pytest.mark.filterwarnings(text) for text in LIGHTNING]


def evaluate(robustness, *, clean=False):
    loaders = [robustness.job_loader(), *([DataLoader(clean_set(), 3)] if clean else [])]
    trainer(robustness.folder).test(robustness, dataloaders=loaders, verbose=False)
    return robustness.results()


def test_counts_are_those_of_a_direct_loop(tmp_path):
    net, victims, campaign = tiny_net(), tiny_victims(), tiny_campaign()
    results = evaluate(Robustness(net, victims, [campaign], tmp_path), clean=True)
    images, labels = clean_set().tensors
    assert results.clean == Rate.of(int((net(images).argmax(1) == labels).sum()), 7)
    before = net(victims.images).argmax(1)
    assert results.victims_clean == Rate.of(int((before == victims.labels).sum()), 7)
    direct = campaign.attack.against(net, victims.images, victims.labels, campaign.targets).adversarial
    (attack,) = results.attacks
    for target, adversarial, result in zip(campaign.targets, direct, attack.targets, strict=True):
        after = net(adversarial).argmax(1)
        assert result.target == target
        assert result.asr == Rate.of(int((after != before).sum()), 7)
        assert result.targeted == Rate.of(int((after == target).sum()), 7)
        assert result.dissimilarity == pytest.approx(dissimilarity(victims.images, adversarial).mean().item(), 1e-4)
    assert attack.asr == Rate.of(sum(r.asr.count for r in attack.targets), 35)
    assert attack.worst.asr.count == max(r.asr.count for r in attack.targets)
    assert 0 < attack.asr.count < 35


def test_finished_work_is_not_repeated(tmp_path, monkeypatch):
    first = evaluate(Robustness(tiny_net(), tiny_victims(), [tiny_campaign()], tmp_path), clean=True)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("target-*")}
    assert len(files) == 5
    # One target of the second chunk is lost: that chunk is made again, whole, and gives the same bytes.
    lost = next(path for path in files if path.name == "target-003.safetensors")
    content = lost.read_bytes()
    lost.unlink()
    again = Robustness(tiny_net(), tiny_victims(), [tiny_campaign()], tmp_path)
    made = []
    monkeypatch.setattr(again, "_attack", lambda *job: (made.append(job), Robustness._attack(again, *job)))
    assert evaluate(again) == first  # the clean accuracy comes from the first run
    assert made == [(0, (3, 4))]
    assert lost.read_bytes() == content
    assert all(path.stat().st_mtime_ns == files[path] for path in files if path.name[7:10] in ("000", "001", "005"))


def test_counting_twice_does_not_double(tmp_path):
    robustness = Robustness(tiny_net(), tiny_victims(), [tiny_campaign()], tmp_path)
    assert evaluate(robustness) == evaluate(robustness)


def test_other_settings_do_not_reuse_work(tmp_path):
    names = set()
    for net, victims, campaign in [
        (tiny_net(), tiny_victims(), tiny_campaign()),
        (tiny_net(1), tiny_victims(), tiny_campaign()),
        (tiny_net(), tiny_victims(6), tiny_campaign()),
        (tiny_net(), tiny_victims(), tiny_campaign(steps=6)),
        (tiny_net(), tiny_victims(), tiny_campaign(chunk=3)),
        (tiny_net(), tiny_victims(), dataclasses.replace(tiny_campaign(), source=tiny_net(1))),
    ]:
        names.update(Robustness(net, victims, [campaign], tmp_path).names)
    assert len(names) == 6


def test_transfer_is_the_sources_attack_on_this_net(tmp_path):
    source, net, victims = tiny_net(3), tiny_net(), tiny_victims()
    campaign = dataclasses.replace(tiny_campaign((0, 4)), source=source, source_name="other")
    (attack,) = evaluate(Robustness(net, victims, [campaign], tmp_path)).attacks
    adversarial = campaign.attack.against(source, victims.images, victims.labels, (0, 4)).adversarial
    want = [int((net(a).argmax(1) != net(victims.images).argmax(1)).sum()) for a in adversarial]
    assert ([r.asr.count for r in attack.targets], attack.source) == (want, "other")


def test_replayed_noise_gives_the_numbers_of_the_attack(tmp_path):
    robustness = Robustness(tiny_net(), tiny_victims(), [tiny_campaign()], tmp_path)
    (attack,) = evaluate(robustness).attacks
    noise = torch.stack([robustness.store.load(robustness.names[0], t).noise for t in (0, 4)])
    replay = ReplayNoise(noise, tiny_victims().masks["stickers"], "file", (0, 4))
    campaign = dataclasses.replace(tiny_campaign((0, 4)), attack=replay, source_name="file")
    (replayed,) = evaluate(Robustness(tiny_net(), tiny_victims(), [campaign], tmp_path)).attacks
    assert replayed.targets == tuple(r for r in attack.targets if r.target in (0, 4))


def test_untargeted_has_no_targeted_rate(tmp_path):
    (attack,) = evaluate(Robustness(tiny_net(), tiny_victims(), [tiny_campaign((None,))], tmp_path)).attacks
    assert attack.targeted is None
    assert attack.targets[0].targeted is None


def test_results_need_a_run(tmp_path):
    with pytest.raises(RuntimeError, match=r"run trainer.test\(robustness\) first"):
        Robustness(tiny_net(), tiny_victims(), [tiny_campaign()], tmp_path).results()


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [2, 5])
def test_two_processes_give_the_numbers_of_one(tmp_path, chunk):
    # 7 images and 3 chunks (or a single one) do not divide by 2 processes.
    script = Path(__file__).with_name("two_processes.py")
    outputs = []
    for devices in ("1", "2"):
        done = subprocess.run(
            [sys.executable, str(script), str(tmp_path / devices), devices, str(chunk)],
            capture_output=True, text=True, timeout=300, check=False,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout.strip().splitlines()[-1])
    assert outputs[0].startswith("Results(clean=Rate.of(count=")
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize(
    ("victims", "targets", "message"),
    [
        ({}, (2,), r"target 2 \(c\) is the true class"),
        ({}, (6,), "target 6 is out of range: the model's outputs are 0 to 5"),
        ({"classes": (*CLASSES, "g")}, (0,), r"6 outputs, the victims \(tiny\) 7 classes"),
        ({"images": tiny_victims().images * float("nan")}, (0,), "victims: contains NaN"),
        ({"labels": torch.full((7,), 6)}, (0,), "victims' labels: expected values from 0 and below 6"),
    ],
)
def test_bad_input_is_refused_before_any_work(tmp_path, victims, targets, message):
    with pytest.raises(ValueError, match=message):
        Robustness(tiny_net(), dataclasses.replace(tiny_victims(), **victims), [tiny_campaign(targets)], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_bad_campaigns():
    with pytest.raises(ValueError, match=r"must be given and differ, got \[1, 1\]"):
        tiny_campaign((1, 1))
    with pytest.raises(ValueError, match="chunk must be at least 1"):
        tiny_campaign(chunk=0)


def test_damaged_work_is_named(tmp_path):
    robustness = Robustness(tiny_net(), tiny_victims(), [tiny_campaign((0,))], tmp_path)
    path = robustness.store.path(robustness.names[0], 0)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a file")
    with pytest.raises(ValueError, match=r"target-000\.safetensors is not a whole"):
        evaluate(robustness)
