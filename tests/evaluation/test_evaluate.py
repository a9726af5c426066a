"""``blurnet.evaluate`` on any model and any images gives what ``evaluate.py`` gives."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import blurnet
from blurnet.cli import evaluate_main
from blurnet.data.sources.victims import load_victims
from blurnet.evaluation.report.report import read_report
from tests.evaluation.tiny_subject import CLASSES, LIGHTNING, MASK, labelled, tiny_net

pytestmark = [pytest.mark.filterwarnings(text) for text in LIGHTNING]
QUICK = {"budget": "quick", "image_steps": 3, "sanity": False, "progress": False, "device": "cpu"}


def some(net: nn.Module, n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    return labelled(net, n).read(range(n))


def samples(folder: Path) -> list[dict[str, Any]]:
    """The rows of ``samples.jsonl``, without its first line, which says whose they are."""
    return [json.loads(text) for text in (folder / "samples.jsonl").read_text().splitlines()[1:]]


class Answer:
    """What a HuggingFace model returns."""

    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits


class HuggingFaceLike(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = tiny_net()

    def forward(self, pixel_values):
        return Answer(self.net(pixel_values))


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = HuggingFaceLike()

    def forward(self, x):
        return self.model(x).logits


def test_the_same_images_give_the_records_of_the_command_line(tmp_path):
    net = blurnet.load_model("lisa_cnn-lgs")
    victims = load_victims("synthetic")
    line = "--model lisa_cnn-lgs --attacks lavan,autopatch,pgd --budget quick --image-steps 3 --limit 5 --shard 2"
    command = [*line.split(), "--out", str(tmp_path / "cli"), "--device", "cpu", "--no-sanity"]
    assert evaluate_main([*command, "--trainer.enable_progress_bar", "false"]) == 0
    report = blurnet.evaluate(
        net, victims.images, victims.labels, attacks="lavan,autopatch,pgd", limit=5, shard=2, **QUICK
    )
    wanted = samples(tmp_path / "cli")
    report.save(tmp_path / "python")
    got = samples(tmp_path / "python")
    assert got == wanted
    assert len(got) == 15
    assert report.robust == read_report(tmp_path / "cli").robust
    names = {path.name for path in (tmp_path / "cli").iterdir()} - {"work"}
    assert {path.name for path in (tmp_path / "python").iterdir()} >= names - {
        f"{name}.png" for name in ("gallery", "success_by_target", "spectra_rgb", "spectra_maps", "radial_energy")
    }


NETS = """
import timm, torch, torchvision
import blurnet

def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = make()
    [m for m in net.modules() if isinstance(m, torch.nn.Linear)][-1].bias.data[14] += 0.5  # the victims are stop signs
    net.classes, net.image_size = blurnet.load_model("lisa_cnn").classes, (32, 32)
    return net

class HuggingFaceLike(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = torchvision.models.resnet18(num_classes=18)

    def forward(self, pixel_values):
        return {"logits": self.net(pixel_values)}

class Wrapped(HuggingFaceLike):
    def forward(self, x):
        return super().forward(x)["logits"]

def torchvision_net(): return seeded(lambda: torchvision.models.resnet18(num_classes=18))
def timm_net(): return seeded(lambda: timm.create_model("resnet10t", num_classes=18))
def wrapped(): return seeded(Wrapped)
"""


@pytest.mark.parametrize("kind", ["torchvision_net", "timm_net", "wrapped", "function"])
def test_any_model_gives_the_records_of_the_command_line(tmp_path, kind):
    """On tensors and on a loader; a function is the module's call, which the command line gets as the module."""
    (tmp_path / "nets.py").write_text(NETS)
    name = "torchvision_net" if kind == "function" else kind
    command = f"--model {tmp_path / 'nets.py'}:{name} --attacks lavan,pgd --budget quick --image-steps 2 --limit 4"
    out = ["--out", str(tmp_path / "cli"), "--device", "cpu", "--no-sanity", "--trainer.enable_progress_bar", "false"]
    assert evaluate_main([*command.split(), *out]) == 0
    wanted = samples(tmp_path / "cli")
    made: dict[str, Any] = {}
    exec(NETS, made)  # what the file holds
    net = made[name]().eval()
    model = (lambda x: net(x)) if kind == "function" else net
    victims = load_victims("synthetic")
    images, labels = victims.images, victims.labels
    for number, given in enumerate(((images, labels), (DataLoader(TensorDataset(images, labels), 3),))):
        report = blurnet.evaluate(model, *given, attacks="lavan,pgd", limit=4, **(QUICK | {"image_steps": 2}))
        report.save(tmp_path / str(number))
        assert samples(tmp_path / str(number)) == wanted
    assert len(wanted) == 8
    assert sum(row["calls"] > 0 for row in wanted) >= 4


@pytest.mark.parametrize(
    "make",
    [
        lambda: torchvision.models.resnet18(num_classes=6),
        lambda: timm.create_model("resnet10t", num_classes=6),
        Wrapped,
        lambda: tiny_net().__call__,
    ],
    ids=["torchvision", "timm", "wrapped", "function"],
)
def test_any_model(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make()
    images, labels = some(tiny_net())
    if isinstance(model, nn.Module):
        model.train()
        frozen = next(model.parameters()).requires_grad_(False)
    report = blurnet.evaluate(model, images, labels, attacks="lavan,pgd", **QUICK)
    assert len(report.records) == 12
    assert report.per_image.on.n == 6
    if isinstance(model, nn.Module):  # left as it was
        assert model.training
        assert not frozen.requires_grad
        assert next(p for p in list(model.parameters())[1:]).requires_grad


def test_tensors_data_sets_and_loaders_give_the_same():
    net = tiny_net()
    images, labels = some(net, 7)
    data = TensorDataset(images, labels)
    odd = DataLoader(
        data, 3, collate_fn=lambda items: [torch.stack([x for x, _ in items]), torch.tensor([y for _, y in items])]
    )
    given = [(images, labels), (data,), (DataLoader(data, 2),), (odd,), ([(x, int(y)) for x, y in data],)]
    reports = [blurnet.evaluate(net, *args, attacks="lavan", **QUICK) for args in given]
    assert all(report.records == reports[0].records for report in reports)
    assert all(report == reports[0] for report in reports)


def test_an_interrupted_evaluation_goes_on(tmp_path, monkeypatch):
    net, (images, labels) = tiny_net(), some(tiny_net())
    whole = blurnet.evaluate(net, images, labels, attacks="lavan,pgd", shard=2, out=tmp_path / "whole", **QUICK)
    run = blurnet.evaluation.run.Evaluation
    before, made = run._do, []

    def fail(self, part, x, y):
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(part)
        return before(self, part, x, y)

    monkeypatch.setattr(run, "_do", fail)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        blurnet.evaluate(net, images, labels, attacks="lavan,pgd", shard=2, out=tmp_path / "cut", **QUICK)
    assert not (tmp_path / "cut" / "report.json").exists()
    again = []
    monkeypatch.setattr(run, "_do", lambda self, part, x, y: (again.append(part), before(self, part, x, y))[1])
    report = blurnet.evaluate(net, images, labels, attacks="lavan,pgd", shard=2, out=tmp_path / "cut", **QUICK)
    assert len(made) + len(again) == 9  # three shards, clean and under two attacks: nothing twice
    assert report == whole
    assert report.records == whole.records


def test_attacks_of_ones_own_and_a_mask():
    net, (images, labels) = tiny_net(), some(tiny_net())
    own = blurnet.FGSM(blurnet.Ball("linf", 0.1))
    report = blurnet.evaluate(net, images, labels, attacks=["lavan", own, own], mask=MASK, **QUICK)
    assert [attack.name for attack in report.per_image.attacks] == ["lavan", "FGSM", "FGSM 2"]
    assert report.per_image.attacks[0].threat == "inside the mask given (17.4 % of the image)"
    assert report.per_image.attacks[1].threat.startswith("the whole image, linf at most")


def test_a_shared_noise():
    net = tiny_net()
    images, _ = some(net)
    labels = torch.full((6,), int(net(images).argmax(1).mode().values))
    report = blurnet.evaluate(net, images, labels, attacks="rp2:steps=3", mask=MASK, targets="untargeted", **QUICK)
    (attack,) = report.attacks
    assert (attack.average.asr.n, report.per_image, report.victims.n) == (6, None, 6)
    assert report.victims_clean == report.clean


def test_groups_widen_the_interval():
    net, (images, labels) = tiny_net(), some(tiny_net(), 12)
    labels = labels.clone()
    labels[:4] = (labels[:4] + 1) % 6  # two tracks of two that are wrong
    alone, together = (
        blurnet.evaluate(net, images, labels, attacks="lavan", groups=groups, **QUICK).clean
        for groups in (None, [i // 2 for i in range(12)])
    )
    assert (alone.value, together.value, together.groups, alone.groups) == (66.67, 66.67, 6, None)
    assert "n = 12 in 6 groups" in str(together)


def test_settings_reach_the_report_and_the_table():
    net, (images, labels) = tiny_net(), some(tiny_net())
    report = blurnet.evaluate(net, images, labels, attacks="lavan", patch=0.1, classes=CLASSES, name="mine", **QUICK)
    assert (report.settings["patch"], report.settings["image_steps"]) == ("0.1", 3)
    assert "Robustness of mine" in str(report)
    assert report.clean.count == int((net(images).argmax(1) == labels).sum())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"images": torch.rand(2, 3, 12, 12) * 2}, ValueError, r"images: expected pixels in \[0, 1\]"),
        ({"labels": None}, ValueError, "need labels"),
        ({"labels": torch.zeros(3).long()}, ValueError, r"labels: expected shape \(6,\)"),
        ({"labels": torch.full((6,), 9)}, ValueError, "labels of those given: expected values from 0 and below 6"),
        ({"attacks": "pdg"}, ValueError, "unknown 'pdg'; there are: rp2"),
        ({"budgets": "quick"}, ValueError, r"unknown \['budgets'\]; allowed are"),
        ({"budget": "huge"}, TypeError, "expected one of"),
        ({"model": 3}, TypeError, "expected a model, images to logits, got int"),
        ({"model": HuggingFaceLike()}, TypeError, "return its .logits"),
        ({"attacks": "rp2"}, ValueError, "--mask: unknown 'given'"),
        ({"groups": [1]}, ValueError, "1 groups for 6 images"),
        ({"patch": 1.5}, ValueError, "expected a share"),
    ],
)
def test_bad_input_is_refused_before_any_attack(change, error, message):
    net, (images, labels) = tiny_net(), some(tiny_net())
    given = {"model": net, "images": images, "labels": labels, "attacks": "lavan", **QUICK, **change}
    with pytest.raises(error, match=message):
        blurnet.evaluate(given.pop("model"), given.pop("images"), given.pop("labels"), **given)
