"""The scripts on robust training, end to end on a few rendered signs, and the figures they stand beside."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from blurnet.attacks.ball.pgd import PGD
from blurnet.balls import Ball
from blurnet.files import read_safetensors
from blurnet.layers.denoise import FeatureDenoise
from reproduce import adversarial_logit_pairing as alp
from reproduce import feature_denoising
from reproduce._common import signs as common_signs
from reproduce._common import training
from reproduce._common.answers import correct_under
from reproduce._common.cells import Cells
from reproduce._common.marks import marks, paired, rate
from reproduce._common.signs import load_signs, settings

TOY = ("--epochs", "1", "--train", "48", "--batch", "24", "--limit", "20", "--train-steps", "1")
DENOISING = (*TOY, "--steps", "1", "2", "--rows", "no block", "gaussian, embedded", "dot")
PAIRING = (*TOY, "--steps", "1", "4", "--restarts", "1", "--pairing", "0.25", "--radius", "4")

#: Error rates in percent, from the README of Xie et al.'s code: clean, PGD-10 and PGD-100.
ERRORS = {
    "no block": (37.7, 47.5, 58.3),
    "gaussian, embedded": (34.7, 44.3, 54.5),
    "dot": (31.6, 44.0, 55.6),
}


@pytest.fixture(autouse=True)
def few_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common_signs, "SYNTHETIC_TEST", 34)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where finished parts stay from one test to the next."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def script(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a script; its written rows and what it printed."""

    def run(name: str, *more: str) -> tuple[dict[str, Any], str]:
        file = tmp_path / f"{name}.json"
        monkeypatch.setattr("sys.argv", [name, *more, "--out", str(kept / name), "--json", str(file)])
        importlib.import_module(f"reproduce.{name}").main()
        return json.loads(file.read_text()), capsys.readouterr().out

    return run


def refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("computed again")


def signs_of(module: Any, options: tuple[str, ...], out: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """What a script works on: its signs, its cells and its arguments."""
    monkeypatch.setattr("sys.argv", ["x", *options, "--out", str(out)])
    arguments = module.parse()
    signs = load_signs(arguments)
    decided = settings(signs, arguments, "train_steps")
    return signs, Cells(arguments.out, "x", decided), arguments


def test_published_accuracies_are_the_published_error_rates() -> None:
    for row in feature_denoising.ROWS:
        given = None if row.published is None else tuple(row.published.values())
        assert given == (None if row.name not in ERRORS else pytest.approx([100 - e for e in ERRORS[row.name]]))
    assert alp.PUBLISHED["natural"] == {"clean": 60.5, "own attack": 1.8}
    assert alp.PUBLISHED["ALP 0.25"] == {"clean": 55.7, "own attack": 27.5, "long": 0.1, "reached": 98.6}


def test_feature_denoising_from_end_to_end(script, monkeypatch) -> None:
    written, printed = script("feature_denoising", *DENOISING)
    found = [(row["training"], row["row"]) for row in written["rows"]]
    assert found == [(t, r) for t in ("natural", "pgd") for r in ("no block", "gaussian, embedded", "dot")]
    for row in written["rows"]:
        assert (row["published"] is None) == (row["training"] == "natural")
        assert [row["measured"][column]["n"] for column in ("clean", "short", "long")] == [34, 20, 20]
        assert row["measured"]["short"]["value"] <= 100
        if row["row"] != "no block":
            compared, m = row["against no block"]["long"], row["measured"]["long"]["count"]
            without = next(r for r in written["rows"] if (r["training"], r["row"]) == (row["training"], "no block"))
            assert compared["gained"] - compared["lost"] == m - without["measured"]["long"]["count"]
    assert "52.5 / 41.7 (ResNet-152)" in printed
    assert len(written["verdict"]) == 2
    assert "/" not in written["command"]
    monkeypatch.setattr(training, "_fit", refuse)
    monkeypatch.setattr(feature_denoising, "correct_under", refuse)
    again, _ = script("feature_denoising", *DENOISING)
    assert again["rows"] == written["rows"]
    with pytest.raises(AssertionError, match="again"):
        script("feature_denoising", *DENOISING, "--lr", "0.01")  # other settings, another run


def test_each_operation_stands_behind_both_places(tmp_path, monkeypatch) -> None:
    options = (*TOY, "--train", "24", "--steps", "1", "1")
    signs, cells, arguments = signs_of(feature_denoising, options, tmp_path, monkeypatch)
    seen: dict[str, Any] = {}

    def trained(cells: Any, key: str, signs: Any, arguments: Any, defenses: Any, objective: Any) -> torch.nn.Module:
        seen[key] = (defenses, objective)
        return training.build(training.ModelSpec("lisa_cnn", list(signs.data.classes), list(defenses)))

    monkeypatch.setattr(feature_denoising, "trained", trained)
    for row in feature_denoising.ROWS:
        feature_denoising.cell(signs, cells, row, "pgd", arguments)
    assert len(seen) == len(feature_denoising.ROWS)
    for row, (defenses, objective) in zip(feature_denoising.ROWS, seen.values(), strict=True):
        assert [d.after for d in defenses] == ([] if row.args is None else ["relu1", "relu2"])
        assert all(d.args == row.args for d in defenses)
        assert (objective.name, objective.args["radius"]) == ("pgd", 8 / 255)
    assert {row.args["operation"] for row in feature_denoising.ROWS if row.args} == {
        "none", "mean", "median", "bilateral-gaussian", "bilateral-dot", "gaussian", "dot",
    }  # fmt: skip


def test_training_starts_at_the_shipped_baseline_and_moves(tmp_path, monkeypatch) -> None:
    options = (*TOY, "--steps", "1", "2", "--lr", "0.001")
    signs, cells, arguments = signs_of(feature_denoising, options, tmp_path, monkeypatch)
    start = read_safetensors(signs.start)["conv2.weight"]
    block = training.DefenseSpec("feature_denoise", after="relu1", args={"operation": "mean"})
    net = training.trained(cells, "mean", signs, arguments, [block])
    assert isinstance(dict(net.named_modules())["relu1.FeatureDenoise"], FeatureDenoise)
    assert not torch.equal(net.conv2.weight, start)
    assert float((net.conv2.weight - start).norm()) < 0.1 * float(start.norm())
    assert float(net.relu1.FeatureDenoise.norm.weight.abs().max()) > 0
    same = training.trained(Cells(tmp_path / "b", "x", {}), "mean", signs, arguments, [block])
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), same.parameters(), strict=True))


def test_a_training_that_diverges_leaves_nothing(tmp_path, monkeypatch) -> None:
    options = (*TOY, "--steps", "1", "2", "--lr", "1e30", "--clip", "1e30")
    signs, cells, arguments = signs_of(feature_denoising, options, tmp_path, monkeypatch)
    with pytest.raises(ValueError, match=r"training diverged: .* lower --lr or --clip"):
        training.trained(cells, "net", signs, arguments)
    assert not list(tmp_path.glob("*.safetensors"))


def test_logit_pairing_from_end_to_end(script, kept, monkeypatch) -> None:
    written, printed = script("adversarial_logit_pairing", *PAIRING)
    assert [row["row"] for row in written["rows"]] == ["natural", "mixed PGD", "ALP 0.25"]
    for row in written["rows"]:
        m, curves = row["measured"], row["curves"]
        assert m["clean"]["n"] == 34
        assert m["worst"]["n"] == m["own attack"]["n"] == 20
        assert m["worst"]["count"] <= min(m["untargeted"]["count"], m["random target"]["count"])
        for curve in curves.values():
            assert curve["4"]["right"]["count"] <= curve["1"]["right"]["count"]
            assert curve["4"]["reached"]["count"] >= curve["1"]["reached"]["count"]
        assert curves["untargeted"]["4"]["reached"]["count"] == 0
    assert "55.7 / 27.5 / 0.1 / 98.6" in printed
    assert written["verdict"][0].startswith("ALP 0.25 against mixed PGD: ")
    with Image.open(kept / "adversarial_logit_pairing" / "curves.png") as picture:
        assert min(picture.size) > 400
    monkeypatch.setattr(training, "_fit", refuse)
    monkeypatch.setattr(alp, "correct_under", refuse)
    monkeypatch.setattr(alp.Long, "_longer", refuse)
    again, _ = script("adversarial_logit_pairing", *PAIRING)
    assert again["rows"] == written["rows"]


def test_a_curve_is_what_each_attack_alone_leaves(tmp_path, monkeypatch) -> None:
    options = (*TOY, "--steps", "1", "3", "6", "--radius", "3")
    signs, cells, arguments = signs_of(alp, options, tmp_path, monkeypatch)
    net = training.build(training.ModelSpec("lisa_cnn", list(signs.data.classes)), signs.start).eval()
    curve = alp.Long(signs, cells, "net", net, arguments).curve("untargeted")
    images, labels = signs.attacked.read(range(len(signs.attacked)))
    counts = set()
    for steps, found in curve.items():
        attack = PGD(Ball("linf", 3 / 255), steps, 1 / 255)
        assert found["right"] == marks(correct_under(net, attack, images, labels))
        counts.add(found["right"].count("1"))
    assert len(counts) > 1  # the attacks differ


def test_pairing_weights_reach_the_objective(tmp_path, monkeypatch) -> None:
    signs, cells, arguments = signs_of(alp, TOY, tmp_path, monkeypatch)
    seen: list[Any] = []
    monkeypatch.setattr(alp, "trained", lambda *_, objective=None: seen.append(objective))
    for weight in alp.net_names([0.25, 0.5]).values():
        alp.net_of(signs, cells, weight, arguments)
    assert seen[0] is None
    assert [spec.args["pairing"] for spec in seen[1:]] == [0.0, 0.25, 0.5]
    assert all((spec.args["clean"], spec.args["radius"]) == (0.5, 16 / 255) for spec in seen[1:])


def test_images_are_compared_in_pairs() -> None:
    assert paired("1100", "1010") == {"gained": 1, "lost": 1, "p": 1.0}
    assert paired("11111111", "00000000")["p"] == pytest.approx(0.0078)
    assert paired("10", "10")["p"] == 1.0


def test_crops_are_held_out_by_track(shared_data: Path, tmp_path, monkeypatch) -> None:
    options = ("--data", "lisa-crops", "--root", str(shared_data), *TOY)
    signs, _, _ = signs_of(feature_denoising, options, tmp_path, monkeypatch)
    assert (len(signs.held_out), len(signs.attacked)) == (1026, 20)
    tracks = [set(signs.data.split(split).groups) for split in ("train", "test")]
    assert not tracks[0] & tracks[1]
    assert signs.start.parent.name == "lisa_cnn"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--rows", "gausian"), "no row 'gausian'; there are: no block; convolution alone; mean"),
        (("--data", "lisa-crops"), "--root goes with --data lisa-crops"),
        (("--root", "somewhere"), "--root goes with --data lisa-crops"),
        (("--epochs", "0"), "--epochs: expected at least 1, got 0"),
    ],
)
def test_what_does_not_fit_is_said(options: tuple[str, ...], says: str, script) -> None:
    with pytest.raises(ValueError, match=says):
        script("feature_denoising", *TOY, *options)


@pytest.mark.parametrize("name", ["feature_denoising", "adversarial_logit_pairing", "blurnet_baselines"])
def test_help_explains_itself(name: str, monkeypatch, capsys) -> None:
    module = importlib.import_module(f"reproduce.{name}")
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit, match="0"):
        module.main()
    shown = capsys.readouterr().out
    assert module.__doc__.splitlines()[0] in shown
    assert all(option in shown for option in ("--data", "--root", "--out", "--json"))


def test_rates_of_marks_resample_tracks() -> None:
    """Ten crops a track that agree: as wide as the tracks, and the same figure."""
    text = "".join(mark * 10 for mark in "110111011111")
    tracks = [str(i // 10) for i in range(len(text))]
    alone, together = rate(text), rate(text, tracks)
    assert (together.value, together.count, together.n, together.groups) == (alone.value, alone.count, alone.n, 12)
    assert together.high - together.low > 2.5 * (alone.high - alone.low)
