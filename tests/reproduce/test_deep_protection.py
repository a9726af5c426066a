"""The scripts on Deep Protection, end to end on a few small pictures, and what they count by hand."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from blurnet.attacks.external import External
from blurnet.attacks.wrappers.smallest import SmallestRadius
from blurnet.files import save_weights
from blurnet.nets.lisa_cnn import LisaCNN
from blurnet.transforms.deep_image_prior.deep_image_prior import prior_outputs
from blurnet.transforms.deep_image_prior.settings import DeepImagePriorSettings
from reproduce import deep_protection, deep_protection_adaptive
from reproduce._common import needed, prior
from reproduce._common.coarse import Coarse
from reproduce._common.needed import Detector
from tests.reproduce.photos import write_photos

SETTINGS = DeepImagePriorSettings(12, net="tiny")
FEW = ("--net", "tiny", "--iterations", "12", "--every", "4", "--batch", "3")
QUICK = ("--attack-steps", "carlini-wagner=5", "salt-and-pepper=20")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments of every script: six coloured pictures of two classes, and a net that answers some correctly."""
    root = tmp_path_factory.mktemp("photos")
    write_photos(root, 2, 32, tinted=True)  # more red, or more green
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = LisaCNN(2)
        with torch.no_grad():
            net.conv1.weight[:, 2] = 0
            net.conv1.weight[:, 1] = -net.conv1.weight[:, 0]  # it sees red against green only
        save_weights(net, weights := root.parent / "net.safetensors")
    return ["--data-root", str(root), "--model", "lisa_cnn", "--weights", str(weights), "--image-size", "32"]


@pytest.fixture
def script(photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a script; its written rows and what it printed."""

    def run(name: str, *more: str) -> tuple[dict[str, Any], str]:
        file = tmp_path / f"{name}.json"
        monkeypatch.setattr("sys.argv", [name, *photos, *more, "--out", str(tmp_path / name), "--json", str(file)])
        importlib.import_module(f"reproduce.{name}").main()
        return json.loads(file.read_text()), capsys.readouterr().out

    return run


def test_the_table_from_end_to_end(script, tmp_path, monkeypatch) -> None:
    pytest.importorskip("foolbox", reason="foolbox is not installed")
    written, printed = script("deep_protection", *FEW, *QUICK, "--radii", "64")
    rows = {row["row"]: row for row in written["rows"]}
    assert list(rows) == ["no attack", *prior.ATTACKS, "all attacks"]
    assert rows["all attacks"]["published"] == {"oracle": 97.4, "fixed": 84.4}
    clean, every = rows["no attack"]["measured"], rows["all attacks"]["measured"]
    assert clean["before"]["value"] == 100
    assert clean["fooled"] is None
    assert every["fooled"]["n"] == 8 * clean["before"]["n"]
    assert every["fooled"]["count"] == every["before"]["n"] == sum(rows["all attacks"]["stops"].values())
    for row in rows.values():
        measured = row["measured"]
        assert list(row["curve"]) == ["4", "8", "12"]
        assert row["curve"]["12"] == measured["fixed"]
        assert measured["oracle"]["count"] >= max(look["top5"]["count"] for look in row["curve"].values())
        assert all(1 <= measured[rule]["median stop"] <= 12 for rule in prior.RULES)
        assert row["row"] in printed
    assert written["settings"]["radii"] == [64.0]
    assert (tmp_path / "deep_protection" / "stops.png").stat().st_size > 0
    assert "/" not in written["command"].replace("64", "")
    monkeypatch.setattr(deep_protection, "batch", None)  # everything is there
    again, _ = script("deep_protection", *FEW, *QUICK, "--radii", "64")
    assert again["rows"] == written["rows"]


def test_what_is_seen_along_a_run() -> None:
    """A net that reads the mean brightness: each look is of the prior's own output at that iteration."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 3, 16, 16, generator=generator)
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 7))
    with torch.no_grad():
        net[2].weight.copy_(torch.randn(7, 3, generator=generator))
    labels = torch.tensor([0, 3, 6])
    at = prior.grid(12, 5)
    assert at == (5, 10, 12)
    seen = prior.watch(net, images, labels, SETTINGS, at)
    outputs = prior_outputs(images, at, SETTINGS)
    with torch.no_grad():
        logits, first = torch.stack([net(x) for x in outputs]), net(images).argmax(1)
    for i, one in enumerate(seen):
        assert one["input"]["answer"] == int(first[i])
        assert one["answers"] == logits[:, i].argmax(1).tolist()
        assert one["top5"] == [int(labels[i]) in x.topk(5).indices for x in logits[:, i]]
        assert one["probabilities"] == pytest.approx(logits[:, i].softmax(1)[:, first[i]].tolist(), abs=1e-4)
        assert set(one["rules"]) == {"ES-WMV", "ES-EMV", "DIPDefend"}
    assert prior.first_top5({"top5": [False, True, True]}, at) == 10
    assert prior.first_top5({"top5": [False, False, False]}, at) is None


def test_attacks_of_a_command_line() -> None:
    pytest.importorskip("foolbox", reason="foolbox is not installed")

    class Line:
        radii, attack_steps, seed = [8.0, 2.0], ["deepfool=7"], 3

    bim, deepfool = prior.attack_of("bim", Line), prior.attack_of("deepfool", Line)
    assert isinstance(bim, SmallestRadius)
    assert bim.radii == (2 / 255, 8 / 255)
    assert isinstance(deepfool, External)
    assert (deepfool.attack.steps, deepfool.seed) == (7, 3)
    Line.radii = [4.0]
    assert prior.attack_of("bim", Line).ball.radius == 4 / 255


AT = (10, 20, 30, 40)


def seen(answers: list[int], probabilities: list[float], answer: int = 1, probability: float = 0.8) -> dict[str, Any]:
    return {
        "input": {"answer": answer, "top5": True, "probability": probability},
        "answers": answers,
        "probabilities": probabilities,
    }


def test_scores_of_a_run() -> None:
    run = seen([1, 2, 2, 1], [0.8, 0.2, 0.4, 0.0])
    assert Detector("changed", (0.0, 1.0))(run, AT) == 0.5
    assert Detector("changed", (0.25, 0.75))(run, AT) == 1.0  # iterations 20 and 30
    assert Detector("drop", (0.25, 0.75))(run, AT) == pytest.approx(0.5)
    assert Detector("log drop", (0.0, 0.25))(run, AT) == pytest.approx(0.0)
    assert Detector("log drop", (0.75, 1.0))(run, AT) == pytest.approx(13.59, abs=0.01)  # of a millionth
    with pytest.raises(ValueError, match=r"no iteration of \[10, 20\] lies in \(0.0, 0.15\)"):
        Detector("drop", (0.0, 0.15))(run, AT[:2])


def test_the_area_under_the_curve() -> None:
    assert needed.auc([3, 4], [1, 2]) == 1
    assert needed.auc([1, 2], [3, 4]) == 0
    assert needed.auc([1, 1], [1, 1]) == 0.5
    assert needed.auc([1, 3], [2, 2]) == 0.5
    assert needed.auc([], [1.0]) is None


def test_the_detector_is_judged_on_other_photos() -> None:
    """On even photos the late answers tell, on odd ones they mislead: chosen on the former, judged on the latter."""
    steady, turned = seen([1, 1, 1, 1], [0.8] * 4), seen([1, 1, 2, 2], [0.8, 0.8, 0.1, 0.1])

    def entries(attacked: bool) -> list[dict[str, Any]]:
        return [{"photo": n, "seen": turned if attacked is (n % 2 == 0) else steady} for n in range(6)]

    found = deep_protection.detection({"no attack": entries(False), "fgsm": entries(True)}, AT)
    assert found["photos"] == [3, 3]
    assert found["chosen at"] == 1.0
    assert found["areas"] == {"fgsm": 0.0}


def test_what_a_row_counts() -> None:
    """Two photos under two attacks: fooled three times, the truth seen in twice, right at the end once."""

    def entry(photo: int, answers: list[int], top5: list[bool], rule: int) -> dict[str, Any]:
        rules = {name: {"at": rule, "answer": answers[0], "top5": top5[0]} for name in prior.RULES}
        what = {**seen(answers, [0.5, 0.5]), "top5": top5, "rules": rules}
        return {"photo": photo, "label": 7, "l2": 1.0 + photo, "linf": 0.1, "seen": what}

    never = {"photo": 1, "label": 7, "l2": 9.0, "linf": 0.1, "seen": None}
    entries = [
        entry(0, [1, 7], [False, True], 5),
        entry(1, [1, 2], [False, False], 5),
        entry(0, [7, 1], [True, False], 8),
        never,
    ]
    row = deep_protection.row_of("all attacks", entries, (10, 20))
    measured = row["measured"]
    counts = {name: (measured[name].count, measured[name].n) for name in ("fooled", "before", "oracle")}
    assert counts == {"fooled": (3, 4), "before": (3, 3), "oracle": (2, 3)}
    assert (measured["fixed"]["top1"].count, measured["fixed"]["top5"].count) == (1, 1)
    assert (measured["ES-WMV"]["top1"].count, measured["ES-WMV"]["median stop"]) == (1, 5)
    assert (measured["median l2"], row["stops"]) == (1.0, {"20": 1, "never": 1, "10": 1})
    assert deep_protection.best_fixed(row)[0] == "10"
    lines = deep_protection.said([row], None)
    assert lines[0] == "Oracle stops, all attacks: 10: 1, 20: 1, never: 1"


ADAPTIVE = (
    "--net",
    "tiny",
    "--iterations",
    "6",
    "--batch",
    "4",
    "--steps",
    "2",
    "--cells",
    "4",
    "--radius",
    "96",
    "--unroll",
    "2",
)


def test_the_adaptive_table_from_end_to_end(script, tmp_path, monkeypatch) -> None:
    written, printed = script("deep_protection_adaptive", *ADAPTIVE)
    rows = {row["row"]: row["measured"] for row in written["rows"]}
    within, patch = deep_protection_adaptive.THREATS["linf"], deep_protection_adaptive.THREATS["patch"]
    assert list(rows) == ["no attack", *within, "worst, linf", *patch, "worst, patch"]
    attacked = rows["no attack"]["defended"]["count"]
    assert attacked > 0, "the toy's prior must leave something to attack"
    for name in list(rows)[1:]:
        assert rows[name]["defended"]["n"] == rows[name]["plain"]["n"] == attacked
        assert name in printed
    for threat, names in deep_protection_adaptive.THREATS.items():
        assert rows[f"worst, {threat}"]["defended"]["count"] <= min(rows[name]["defended"]["count"] for name in names)
    assert rows["AutoPatch"]["defended"] == rows["worst, patch"]["defended"], "it goes on from the patches before"
    assert rows["plain"]["plain"]["count"] == 0, "a third of the range is more than this net can bear"
    monkeypatch.setattr(deep_protection_adaptive.Subject, "judged", None)
    monkeypatch.setattr(deep_protection_adaptive.Subject, "made", None)
    assert script("deep_protection_adaptive", *ADAPTIVE)[0]["rows"] == written["rows"]


def test_a_patch_that_is_driven_on_stays_in_its_place(photos, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["x", *photos, *ADAPTIVE, "--out", str(tmp_path)])
    options = deep_protection_adaptive.parse()
    setup = deep_protection_adaptive.load_setup(options)
    subject = deep_protection_adaptive.Subject(setup, deep_protection_adaptive.Cells(tmp_path, "x", {}), options)
    number = next(number for number in range(setup.pool.shards) if len(subject.photos(number)[0]))
    images, labels, _ = subject.photos(number)
    first, second = (subject.made(name, number, images, labels) for name in ("patch", "patch, identity"))
    assert torch.equal(first["box"], second["box"])
    for image, one, other, (top, bottom, left, right) in zip(
        images, first["images"], second["images"], first["box"].tolist(), strict=True
    ):
        outside = torch.ones(32, 32, dtype=torch.bool)
        outside[top:bottom, left:right] = False
        assert (bottom - top) * (right - left) <= 0.025 * 32 * 32
        assert torch.equal(one[:, outside], image[:, outside])
        assert torch.equal(other[:, outside], image[:, outside])
        assert not torch.equal(one, image)


def test_what_the_adaptive_table_counts() -> None:
    """Five photos, four right plain, three right behind the prior; the worst is of each photo."""
    row = deep_protection_adaptive._clean_row({"plain": "11110", "defended": "11100"})
    assert (row["measured"]["plain"].count, row["measured"]["plain"].n) == (4, 5)
    assert (row["measured"]["defended"].count, row["measured"]["defended"].n) == (3, 4)
    assert deep_protection_adaptive._worst(["110", "011", "111"]) == "010"
    rows = [row, deep_protection_adaptive._row("worst, linf", "linf", "000", "010")]
    assert deep_protection_adaptive.verdict(rows) == [
        "Of 3 photos that the defended net answers correctly, 1 stand against linf attacks that know the prior."
    ]


def test_a_coarse_change_keeps_to_the_ball_and_to_low_frequencies() -> None:
    generator = torch.Generator().manual_seed(0)
    images = 0.3 + 0.4 * torch.rand(2, 3, 32, 32, generator=generator)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
    with torch.no_grad():
        net[1].weight.copy_(0.01 * torch.randn(4, 3 * 32 * 32, generator=generator))
        labels = net(images).argmax(1)
    out = Coarse(0.1, cells=4, steps=20)(net, images, labels)
    change = out - images
    assert change.abs().max() <= 0.1 + 1e-6
    assert (net(out).argmax(1) != labels).all()
    share = torch.fft.fft2(change, norm="ortho").abs().square()
    low = share[..., [0, 1, 2, 3, 4, -4, -3, -2, -1], :][..., [0, 1, 2, 3, 4, -4, -3, -2, -1]].sum()
    assert low / share.sum() > 0.9
