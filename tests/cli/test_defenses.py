"""Input transformations that the evaluation puts in front of a model."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from blurnet.cli.evaluate import evaluate_main
from blurnet.evaluation.render.compare import compare
from blurnet.evaluation.report.cards import with_report
from blurnet.evaluation.report.report import read_report
from blurnet.evaluation.sanity.examine import Examination
from blurnet.transforms.base import transforms_of
from blurnet.zoo.build import build
from blurnet.zoo.card import Card
from blurnet.zoo.models import load_model, models_root, save_model
from blurnet.zoo.spec import DefenseSpec, ModelSpec
from tests.evaluation.tiny_subject import LIGHTNING

pytestmark = [pytest.mark.filterwarnings(text) for text in LIGHTNING]
PLAIN = models_root() / "lisa_cnn-synthetic"  # one that answers correctly
QUICK = ["--device", "cpu", "--trainer.enable_progress_bar", "false", "--image-steps", "2", "--limit", "5"]
TWO = ["--defenses", "gaussian:sigma=0.5,bit_depth:bits=4"]


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """A model with a transformation of its own."""
    spec = ModelSpec(classes=list(load_model(PLAIN).classes), defenses=[DefenseSpec("gaussian", args={"sigma": 2.0})])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build(spec)
    card = Card("test", dataset="synthetic", defense="gaussian", data="none", seed=0, command="none")
    return save_model(net, tmp_path_factory.mktemp("models") / "own", spec=spec, card=card)


def run(model: Path, out: Path, *more: str) -> tuple[int, dict]:
    status = evaluate_main(["--model", str(model), "--out", str(out), *QUICK, *more])
    return status, json.loads((out / "report.json").read_text())


def refused(capsys: pytest.CaptureFixture[str], model: Path, out: Path, *more: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_info:
        run(model, out, *more)
    error = capsys.readouterr().err
    assert exit_info.value.code == 2
    assert error.count("\n") == 1
    return error


def test_the_report_says_what_stands_in_front(own, tmp_path, monkeypatch):
    checked: list[Examination] = []
    monkeypatch.setattr("blurnet.evaluation.plan.examine", lambda listed, *_: checked.extend(listed) or [])
    monkeypatch.setattr("blurnet.evaluation.report.report.victim_pictures", lambda *_: {})
    more = ["--attacks", "rp2,lavan", "--targets", "12", "--steps", "2", "--transfer-from", str(PLAIN), *TWO]
    _, report = run(own, tmp_path / "run", *more)
    defenses = report["defenses"]
    assert [(d["name"], d["args"]) for d in defenses["own"]] == [("gaussian", {"sigma": 2.0})]
    assert [(d["name"], d["args"]) for d in defenses["added"]] == [
        ("gaussian", {"sigma": 0.5}),
        ("bit_depth", {"bits": 4}),
    ]
    added = "gaussian(sigma=0.5) in front; bit_depth(bits=4) in front, added for this evaluation"
    assert defenses["note"] == f"Defenses: {added}; then gaussian(sigma=2) in front, of the model itself."
    assert [text.partition("(")[0] for text in report["adaptive"]["transforms"]] == ["Gaussian", "BitDepth", "Gaussian"]
    assert report["adaptive"]["used"]
    for name in ("summary.md", "report.html"):
        assert defenses["note"] in (tmp_path / "run" / name).read_text()
    header = json.loads((tmp_path / "run" / "samples.jsonl").read_text().splitlines()[0])
    assert header["defenses"] == defenses
    assert [len(transforms_of(one.attacked)) for one in checked] == [3, 3]  # the stickers and the square
    assert report["transfer"]["source"] == "lisa_cnn-synthetic"
    assert compare([tmp_path / "run"]).startswith("| | own behind gaussian(sigma=0.5), bit_depth(bits=4) |")
    with pytest.raises(ValueError, match=r"behind gaussian\(sigma=0.5\) in front; bit_depth"):
        with_report(load_model(own).card, read_report(tmp_path / "run"))


def test_what_transfers_is_made_on_the_source_alone(tmp_path, monkeypatch):
    """On an undefended copy of itself the attack is the white-box one, whatever stands in front of the model."""
    monkeypatch.setattr("blurnet.evaluation.report.report.victim_pictures", lambda *_: {})
    more = ["--attacks", "rp2", "--targets", "12", "--steps", "3", "--transfer-from", str(PLAIN), "--no-sanity"]
    noises = []
    for name, defenses in (("plain", ""), ("defended", "gaussian:sigma=1")):
        run(PLAIN, tmp_path / name, *more, "--defenses", defenses)
        files = sorted((tmp_path / name).rglob("target-012.safetensors"))
        assert len(files) == 2
        noises.append([load_file(path)["noise"] for path in files])
    white = noises[0][0]
    assert all(torch.equal(noise, white) for noise in noises[0])
    assert sorted(torch.equal(noise, white) for noise in noises[1]) == [False, True]


def test_other_defenses_in_the_same_folder_are_refused(tmp_path, capsys):
    out = tmp_path / "run"
    first = run(PLAIN, out, "--attacks", "lavan", "--defenses", "median:size=3", "--no-sanity")[1]
    before = {path: path.stat().st_mtime_ns for path in out.rglob("shard-*")}
    assert run(PLAIN, out, "--attacks", "lavan", "--defenses", "median:size=3", "--no-sanity")[1] == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("shard-*")} == before
    wanted = f"evaluate.py: error: {out} holds an evaluation with other defenses; give a new --out, or delete it\n"
    for other in ([], ["--defenses", "median:size=5"], ["--defenses", "median:size=3,median:size=3"]):
        assert refused(capsys, PLAIN, out, "--attacks", "lavan", "--no-sanity", *other) == wanted
    assert "with other model;" in refused(capsys, models_root() / "lisa_cnn", out, "--defenses", "median:size=3")


def test_folders_begun_before_there_were_defenses_go_on(tmp_path, capsys):
    out = tmp_path / "run"
    report = run(PLAIN, out, "--attacks", "lavan", "--no-sanity")[1]
    path = out / "work" / "configuration.json"
    configuration = json.loads(path.read_text())
    assert configuration.pop("defenses") == []
    path.write_text(json.dumps(configuration))
    assert run(PLAIN, out, "--attacks", "lavan", "--no-sanity")[1] == report
    assert "with other defenses" in refused(capsys, PLAIN, out, "--attacks", "lavan", "--no-sanity", *TWO)


def test_random_ones_repeat(tmp_path, monkeypatch):
    monkeypatch.setattr("blurnet.evaluation.report.report.victim_pictures", lambda *_: {})
    more = ["--attacks", "rp2,lavan", "--targets", "12", "--steps", "2", "--no-sanity"]
    more += ["--defenses", "random_resize_pad"]
    first, again = (run(PLAIN, tmp_path / "run", *more)[1] for _ in range(2))
    assert first == again


def test_not_adaptive_is_said(tmp_path, capsys):
    more = ["--attacks", "lavan", "--no-adaptive", "--no-sanity", "--defenses"]
    report = run(PLAIN, tmp_path / "run", *more, "median:size=3")[1]
    assert not report["adaptive"]["used"]
    assert report["adaptive"]["note"].startswith("NOT adaptive")
    assert "NOT adaptive" in (tmp_path / "run" / "summary.md").read_text()
    error = refused(capsys, PLAIN, tmp_path / "other", *more, "lgs,jpeg")
    assert "--no-adaptive: JPEG has no gradient of its own, which lavan would need" in error
    assert "hard-label" in error
    run(PLAIN, tmp_path / "blind", "--attacks", "hard-label", *more[2:], "jpeg")  # it asks for none


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cats", "unknown defense 'cats'; there are: bilateral, bit_depth"),
        ("lgs,", "unknown defense ''"),
        ("fixed_low_pass:kernel_size=5:after=relu1", "'fixed_low_pass' is no input transformation but a layer"),
        ("lgs:after=relu1", "defense 'lgs' takes images: leave out after and before"),
        ("jpeg:qality=3", "defense 'jpeg': args: unknown ['qality']; allowed are ['quality'"),
        ("jpeg:quality=high", "quality: expected int"),
        ("jpeg:quality=900", "JPEG quality: expected in [1, 100], got 900"),
        ("jpeg:quality", "expected name:argument=value, got 'quality'"),
    ],
)
def test_bad_ones_end_in_one_line(tmp_path, capsys, text, message):
    assert message in refused(capsys, PLAIN, tmp_path / "run", "--defenses", text)
    assert not (tmp_path / "run").exists()
