import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from PIL import Image

from blurnet.cli.evaluate import evaluate_main
from blurnet.cli.shared import public_command
from blurnet.data.labels import label_names
from blurnet.data.module import SyntheticData
from blurnet.evaluation.report.cards import with_report
from blurnet.evaluation.report.report import read_report
from blurnet.evaluation.sanity.examine import Examined
from blurnet.evaluation.sanity.flags import Flag
from blurnet.zoo.build import build
from blurnet.zoo.card import Card
from blurnet.zoo.models import models_root, save_model
from blurnet.zoo.spec import DefenseSpec, ModelSpec
from tests.evaluation.tiny_subject import LIGHTNING

pytestmark = [pytest.mark.filterwarnings(text) for text in LIGHTNING]
REPOSITORY = Path(__file__).parents[2]
PICTURES = ("gallery", "success_by_target", "spectra_rgb", "spectra_maps", "radial_energy")


def save(folder: Path, outputs: int = 18, seed: int = 0, classes: list[str] | None = None) -> Path:
    defense = DefenseSpec("fixed_low_pass", after="relu1", args={"kernel_size": 3})
    spec = ModelSpec(classes=classes or list(label_names(outputs)), defenses=[defense])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = build(spec)
    card = Card("test", dataset="synthetic", defense="fixed_low_pass", data="none", seed=seed, command="none")
    return save_model(net, folder, spec=spec, card=card)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "other", seed=1)


@pytest.fixture
def no_pictures(monkeypatch) -> None:
    """Drawing takes seconds and one test sees to it."""
    monkeypatch.setattr("blurnet.evaluation.report.report.victim_pictures", lambda *_: {})


def instead(make):
    """What ``get_data`` is replaced by: a small set at its own size."""
    return lambda text, image_size=None, fit=None, **options: make(**options)


def arguments(model: Path, out: Path, *more: str) -> list[str]:
    quick = ["--targets", "12,3", "--steps", "2", "--chunk", "1", "--trainer.enable_progress_bar", "false"]
    return ["--model", str(model), "--out", str(out), "--device", "cpu", *quick, *more]


def test_one_command_writes_the_whole_report(model, other, tmp_path, capsys, monkeypatch):
    command = arguments(model, tmp_path / "run", "--transfer-from", str(other))
    assert evaluate_main(command) == 0
    out = tmp_path / "run"
    report = json.loads((out / "report.json").read_text())
    card = json.loads((model / "card.json").read_text())
    assert report["model"]["sha256"] == card["sha256"]
    assert report["model"]["spec"]["defenses"][0]["name"] == "fixed_low_pass"
    assert report["victims"] == {"name": "synthetic", "n": 40, "mask": "stickers"}
    (attack,) = report["attacks"]
    assert (attack["targets"], attack["average"]["asr"]["n"], attack["seed"]) == ([12, 3], 80, 0)
    assert [row["name"] for row in attack["per_target"]] == [label_names(18)[12], label_names(18)[3]]
    assert report["transfer"]["source"] == "other"
    assert report["clean"] is None
    assert report["flags"] == []
    header, *rows = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert [line["name"] for line in header["attacks"]] == ["rp2", "rp2 from other"]
    assert len(rows) == 160
    changed = [r for r in rows if r["attack"] == "rp2" and r["prediction"] != r["clean_prediction"]]
    assert len(changed) == sum(row["asr"]["count"] for row in attack["per_target"])
    for name in PICTURES:
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "# Robustness of tiny" in (out / "summary.md").read_text()
    assert "# Robustness of tiny" in capsys.readouterr().out
    drawn = {name: (out / f"{name}.png").read_bytes() for name in PICTURES}
    monkeypatch.setattr("blurnet.evaluation.report.report.victim_pictures", lambda *_: drawn)
    # Again: nothing is attacked twice, and the report has the same bytes.
    files = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.rglob("*") if path.is_file()}
    assert evaluate_main(command) == 0
    assert {path: path.read_bytes() for path in files} == {path: content for path, (content, _) in files.items()}
    assert all(path.stat().st_mtime_ns == times for path, (_, times) in files.items() if "work" in path.parts)


def test_clean_accuracy_of_a_net_with_other_numbering(tmp_path, monkeypatch, no_pictures):
    # 17 outputs count from 0, the victims and the data's default from 1: classes are matched by name.
    model = save(tmp_path / "net17", outputs=17)
    small = functools.partial(SyntheticData, test_size=35)
    monkeypatch.setattr(
        "blurnet.cli.evaluate.get_data", lambda text, fit=None, image_size=None, **options: small(**options)
    )
    assert evaluate_main(arguments(model, tmp_path / "run", "--data", "synthetic", "--targets", "0")) == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["data"] == {"name": "synthetic (test)", "n": 35, "groups": None}
    assert report["clean"]["n"] == 35


def test_saved_noise_is_replayed(model, tmp_path, no_pictures):
    noise = tmp_path / "noise.safetensors"
    safetensors.torch.save_file({"noise": torch.ones(3, 32, 32), "other": torch.ones(1)}, noise)
    assert evaluate_main(arguments(model, tmp_path / "run", "--noise", str(noise), "--noise-target", "5")) == 0
    transfer = json.loads((tmp_path / "run" / "report.json").read_text())["transfer"]
    assert (transfer["source"], transfer["targets"]) == ("noise.safetensors:noise", [5])
    assert transfer["repr"].startswith("ReplayNoise(")


def single(model: Path, out: Path, *more: str) -> list[str]:
    quick = ["--budget", "quick", "--image-steps", "2", "--trainer.enable_progress_bar", "false", "--device", "cpu"]
    return ["--model", str(model), "--out", str(out), *quick, *more]


def test_attacks_image_by_image_on_test_data(tmp_path, monkeypatch):
    model = models_root() / "lisa_cnn-synthetic"  # one that answers correctly
    small = functools.partial(SyntheticData, test_size=35)
    monkeypatch.setattr(
        "blurnet.cli.evaluate.get_data", lambda text, fit=None, image_size=None, **options: small(**options)
    )
    command = single(model, tmp_path / "run", "--attacks", "lavan,pgd", "--on", "data", "--data", "synthetic")
    assert evaluate_main([*command, "--limit", "9", "--curve-areas", "0.1", "--shard", "4", "--keep-images", "2"]) == 0
    out = tmp_path / "run"
    report = json.loads((out / "report.json").read_text())
    images = report["per_image"]
    assert images["on"] == {"name": "synthetic (test)", "n": 9, "of": 35, "size": [32, 32], "groups": None}
    assert (report["victims"], report["attacks"], report["clean"]["n"]) == (None, [], 35)
    assert [attack["name"] for attack in images["attacks"]] == ["lavan", "pgd"]
    assert [point["value"] for point in images["curves"][0]["points"]] == [0.05, 0.1]
    header, *rows = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert [line["name"] for line in header["attacks"]] == ["lavan", "lavan area 0.1", "pgd"]
    assert header["attacks"][2]["repr"].startswith("PGD(")
    assert header["attacks"][2]["threat"] == "the whole image, linf at most 8/255"
    assert header["versions"] == report["versions"]
    assert [(row["images"] > 0, row["flags"]) for row in report["sanity"]] == [(True, []), (True, [])]
    assert len(rows) == 27
    main = [row for row in rows if row["attack"] in ("lavan", "pgd")]
    robust = [all(row["robust"] for row in main if row["index"] == i) for i in {row["index"] for row in main}]
    assert 0 < sum(robust) < 9 - images["wrong_before"]
    assert sum(robust) == images["robust"]["count"]
    assert len(list(out.rglob("shard-*"))) == 9 + 1  # and the clean images, in one
    assert "Robust accuracy, the worst case" in (out / "summary.md").read_text()
    assert (out / "report.html").read_text().startswith("<!doctype html>")
    assert with_report(Card.from_json((model / "card.json").read_text()), read_report(out)).clean.n == 35


def test_a_universal_patch_is_made_on_the_val_split(tmp_path, monkeypatch, capsys):
    model = models_root() / "lisa_cnn-synthetic"
    splits = functools.partial(SyntheticData, val_size=35, test_size=35)
    monkeypatch.setattr(
        "blurnet.cli.evaluate.get_data", lambda text, fit=None, image_size=None, **options: splits(**options)
    )
    command = ["--attacks", "universal-patch", "--limit", "5", "--no-sanity"]
    with pytest.raises(SystemExit):
        evaluate_main(single(model, tmp_path / "run", *command))
    assert "universal-patch: name data with --data; the patch is made on its val split" in capsys.readouterr().err
    command += ["--data", "synthetic", "--on", "data"]
    assert evaluate_main(single(model, tmp_path / "run", *command)) == 0
    (attack,) = json.loads((tmp_path / "run" / "report.json").read_text())["per_image"]["attacks"]
    assert attack["repr"].startswith("HeldOutPatch(area=0.05, target=None, steps=2, lr=0.05, origin='35 images of ")
    assert attack["threat"] == "one square patch of 5 % of the image, anywhere"


FLAG = Flag("zero-gradient", "A step.", "Soften it.", {"zero": 7})


@pytest.mark.parametrize(("more", "status"), [([], 3), (["--allow-flags"], 0), (["--no-sanity"], 0)])
def test_flags_have_an_exit_status_of_their_own(model, tmp_path, monkeypatch, more, status):
    monkeypatch.setattr("blurnet.evaluation.plan.examine", lambda *_: [Examined("t", 7, [FLAG])])
    assert evaluate_main(single(model, tmp_path / "run", "--attacks", "pgd", "--limit", "1", *more)) == status
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    left_out = "--no-sanity" in more
    assert report["flags"] == ([] if left_out else [dataclasses.asdict(FLAG) | {"threat": "t"}])
    assert report["sanity"] == (None if left_out else [{"threat": "t", "images": 7, "flags": ["zero-gradient"]}])
    told = "NOT run" if left_out else "**zero-gradient**: A step. To do: Soften it. Seen: zero 7 (t)."
    assert told in (tmp_path / "run" / "summary.md").read_text()


def test_attacks_inside_the_mask_of_the_victims(model, tmp_path):
    command = single(model, tmp_path / "run", "--attacks", "lavan", "--patch", "mask", "--limit", "5")
    assert evaluate_main(command) == 0
    images = json.loads((tmp_path / "run" / "report.json").read_text())["per_image"]
    assert images["attacks"][0]["threat"] == "inside the mask stickers (2.9 % of the image)"
    assert images["places"] is None


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--patch", "0"], "--patch: expected a share of the image above 0 and at most 1, or mask; got '0'"),
        (["--patch", "1.2"], "got '1.2'"),
        (["--patch", "-0.1"], "got '-0.1'"),
        (["--patch", "big"], "--patch: expected a number such as 0.03"),
        (["--eps", "8/0"], "--eps: expected a number such as 0.03 or 8/255; got '8/0'"),
        (["--eps", "8"], "eps: expected a radius above 0 and at most 1, such as 8/255, got 8.0"),
        (["--eps", "nan"], "--eps: expected a number"),
        (["--attacks", "lavan,pdg"], "unknown 'pdg'; there are: rp2, autopatch, lavan"),
        (["--attacks", "lavan:lr=high"], "lavan: lr: expected float, got 'high'"),
        (["--attacks", "lavan:size=3"], "lavan has no 'size'; it has target, steps, lr"),
        (["--on", "data"], "--on data: name the data with --data"),
        (["--curve-areas", "a"], "--curve-areas: expected numbers with commas, got 'a'"),
        (["--curve-areas", "2"], "got 2.0"),
        (["--curve-steps", "1.5"], "--curve-steps"),
        (["--patch", "mask", "--curve-areas", "0.1"], "needs a patch that is free"),
        (["--patch", "mask", "--mask", "moon"], "unknown 'moon'"),
        (["--restarts", "0"], "restarts"),
        (["--limit", "0"], "--limit"),
        (["--budget", "huge"], "--budget"),
        (["--transfer-from", "lisa_cnn-synthetic"], "only rp2, autopatch"),
    ],
)  # fmt: skip
def test_bad_options_of_attacks_image_by_image(model, tmp_path, capsys, more, message):
    with pytest.raises(SystemExit) as exit_info:
        evaluate_main(single(model, tmp_path / "run", "--attacks", "lavan", *more))
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--attacks", "rp3"], "unknown 'rp3'; there are: rp2, autopatch"),
        (["--targets", "14"], "target 14 (stop) is the true class of some victims"),
        (["--targets", "18"], "target 18 is out of range: the model's outputs are 0 to 17"),
        (["--targets", "x"], "expected all, untargeted, or numbers"),
        (["--mask", "moon"], "unknown 'moon'; these victims have: stickers, octagon"),
        (["--victims", "cats"], "unknown victims 'cats'"),
        (["--data", "cats"], "unknown data 'cats'"),
        (["--model", "cats"], "no model 'cats'"),
        (["--eot", "wind"], "unknown transformation 'wind'; there are: rotation"),
        (["--eot", "rotation=a"], "'rotation=a'"),
        (["--noise", "none.safetensors"], "no such weights file"),
        (["--norm", "l7"], "norm"),
        (["--steps", "-1"], "steps: expected"),
        (["--out", "/dev/null/x"], "output folder"),
    ],
)  # fmt: skip
def test_bad_input_ends_in_one_line_and_status_2(model, tmp_path, capsys, more, message):
    with pytest.raises(SystemExit) as exit_info:
        evaluate_main(arguments(model, tmp_path / "run", *more))
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run" / "report.json").exists()


def test_another_configuration_in_the_same_folder_is_refused(model, tmp_path, capsys, no_pictures):
    assert evaluate_main(arguments(model, tmp_path / "run")) == 0
    before = (tmp_path / "run" / "report.json").read_bytes()
    with pytest.raises(SystemExit):
        evaluate_main(arguments(model, tmp_path / "run", "--lr", "0.2"))
    assert "holds an evaluation with other attacks, targets, victims or strength" in capsys.readouterr().err
    assert (tmp_path / "run" / "report.json").read_bytes() == before


def test_reports_name_no_private_path():
    given = ["--model", "/home/me/models/tv", "--victims", "rp2:/data/rp2", "--out=/tmp/x", "--data", "csv:here/a"]
    want = "python evaluate.py --model tv --victims rp2:rp2 --out=x --data csv:here/a"
    assert public_command("evaluate.py", given) == want


@pytest.mark.slow
@pytest.mark.parametrize(
    ("work", "settings"),
    [
        (
            "target-*",
            [
                "--model",
                "lisa_cnn-synthetic",
                "--attacks",
                "rp2",
                "--targets",
                "0,1,2,3,4",
                "--steps",
                "60",
                "--chunk",
                "1",
            ],
        ),
        (
            "shard-*",
            [
                "--model",
                "lisa_cnn-synthetic",
                "--attacks",
                "patch-pgd",
                "--image-steps",
                "60",
                "--shard",
                "8",
                "--patch",
                "0.01",
            ],
        ),
    ],
    ids=["rp2", "image by image"],
)
def test_killed_and_run_again_gives_the_same_report(tmp_path, work, settings):
    script = [sys.executable, str(REPOSITORY / "evaluate.py")]
    process_settings = {"cwd": REPOSITORY, "env": os.environ | {"OMP_NUM_THREADS": "1"}, "stdout": subprocess.DEVNULL}
    command = ["--device", "cpu", *settings]
    killed, whole = tmp_path / "killed" / "run", tmp_path / "whole" / "run"
    process = subprocess.Popen([*script, *command, "--out", str(killed)], **process_settings)
    deadline = time.monotonic() + 200
    while len(list(killed.rglob(f"{work}.safetensors"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in killed.rglob(f"{work}.safetensors")}
    assert 2 <= len(done) < 5
    assert not (killed / "report.json").exists()
    for out in (killed, whole):
        subprocess.run([*script, *command, "--out", str(out)], check=True, timeout=300, **process_settings)
    assert all(path.stat().st_mtime_ns == times for path, times in done.items())
    names = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    assert sorted(path.relative_to(killed) for path in killed.rglob("*") if path.is_file()) == names
    assert all((killed / name).read_bytes() == (whole / name).read_bytes() for name in names)


def test_the_data_comes_at_the_models_size(model, tmp_path, no_pictures):
    """A folder's images are 224 pixels by default; a net for 32 is shown 32."""
    names = label_names(18)
    for name in names:
        for split in ("train", "val", "test"):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            Image.new("RGB", (60, 40), (200, 10, 10)).save(tmp_path / "photos" / split / name / "a.png")
    folder = f"folder:{tmp_path / 'photos'}"
    sorted_model = save(tmp_path / "sorted", classes=sorted(names))
    command = single(
        sorted_model, tmp_path / "run", "--attacks", "lavan", "--on", "data", "--data", folder, "--no-sanity"
    )
    assert evaluate_main(command) == 0
    report = read_report(tmp_path / "run")
    assert (report.per_image.on.size, report.model.image_size, report.clean.n) == ((32, 32), (32, 32), 18)
