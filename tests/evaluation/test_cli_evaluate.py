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
from tiny_subject import LIGHTNING

from blurnet.cli_evaluate import evaluate_main, parser
from blurnet.cli_shared import public_command
from blurnet.data.labels import label_names
from blurnet.data.module import SyntheticData
from blurnet.zoo.build import build
from blurnet.zoo.card import Card
from blurnet.zoo.models import save_model
from blurnet.zoo.spec import DefenseSpec, ModelSpec

pytestmark = [pytest.mark.filterwarnings(text) for text in LIGHTNING]
REPOSITORY = Path(__file__).parents[2]
PICTURES = {"gallery", "success_by_target", "spectra_rgb", "spectra_maps", "radial_energy"}


def save(folder: Path, outputs: int = 18, seed: int = 0) -> Path:
    defense = DefenseSpec("fixed_low_pass", after="relu1", args={"kernel_size": 3})
    spec = ModelSpec(classes=list(label_names(outputs)), defenses=[defense])
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
    monkeypatch.setattr("blurnet.cli_evaluate.draw_pictures", lambda *_: [])


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
    assert (attack["targets"], attack["average"]["n"], attack["seed"]) == ([12, 3], 80, 0)
    assert [row["name"] for row in attack["per_target"]] == [label_names(18)[12], label_names(18)[3]]
    assert report["transfer"]["source"] == "other"
    assert report["clean"] is None
    assert report["flags"] == []
    rows = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert len(rows) == 160
    changed = [r for r in rows if r["attack"] == "rp2" and r["prediction"] != r["clean_prediction"]]
    assert len(changed) == sum(row["asr"]["count"] for row in attack["per_target"])
    for name in PICTURES:
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "# Robustness of tiny" in (out / "summary.md").read_text()
    assert "# Robustness of tiny" in capsys.readouterr().out
    monkeypatch.setattr("blurnet.cli_evaluate.draw_pictures", lambda *_: [])
    # Again: nothing is attacked twice, and the report has the same bytes.
    files = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.rglob("*") if path.is_file()}
    assert evaluate_main(command) == 0
    assert {path: path.read_bytes() for path in files} == {path: content for path, (content, _) in files.items()}
    assert all(path.stat().st_mtime_ns == times for path, (_, times) in files.items() if "work" in path.parts)


def test_clean_accuracy_of_a_net_with_other_numbering(tmp_path, monkeypatch, no_pictures):
    # 17 outputs count from 0, the victims and the data's default from 1: classes are matched by name.
    model = save(tmp_path / "net17", outputs=17)
    small = functools.partial(SyntheticData, test_size=35)
    monkeypatch.setattr("blurnet.cli_evaluate.get_data", lambda text, **options: small(**options))
    assert evaluate_main(arguments(model, tmp_path / "run", "--data", "synthetic", "--targets", "0")) == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["data"] == {"name": "synthetic (test)", "n": 35}
    assert report["clean"]["accuracy"]["n"] == 35


def test_saved_noise_is_replayed(model, tmp_path, no_pictures):
    noise = tmp_path / "noise.safetensors"
    safetensors.torch.save_file({"noise": torch.ones(3, 32, 32), "other": torch.ones(1)}, noise)
    assert evaluate_main(arguments(model, tmp_path / "run", "--noise", str(noise), "--noise-target", "5")) == 0
    transfer = json.loads((tmp_path / "run" / "report.json").read_text())["transfer"]
    assert (transfer["source"], transfer["targets"]) == ("noise.safetensors:noise", [5])
    assert transfer["repr"].startswith("ReplayNoise(")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--attacks", "rp3"], "unknown 'rp3'; there are: rp2"),
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
        (["--steps", "-1"], "steps: expected a number from 0"),
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


def test_every_option_is_explained():
    text = parser().format_help()
    for name in ("--model", "--steps", "--lam", "--restarts", "--seed", "--trainer.devices", "Exit status"):
        assert name in text


def test_reports_name_no_private_path():
    given = ["--model", "/home/me/models/tv", "--victims", "rp2:/data/rp2", "--out=/tmp/x", "--data", "csv:here/a"]
    want = "python evaluate.py --model tv --victims rp2:rp2 --out=x --data csv:here/a"
    assert public_command("evaluate.py", given) == want


@pytest.mark.slow
def test_killed_and_run_again_gives_the_same_report(model, tmp_path):
    script = [sys.executable, str(REPOSITORY / "evaluate.py")]
    settings = {"cwd": REPOSITORY, "env": os.environ | {"OMP_NUM_THREADS": "1"}, "stdout": subprocess.DEVNULL}
    command = ["--model", str(model), "--device", "cpu", "--targets", "0,1,2,3,4", "--steps", "60", "--chunk", "1"]
    killed, whole = tmp_path / "killed" / "run", tmp_path / "whole" / "run"
    process = subprocess.Popen([*script, *command, "--out", str(killed)], **settings)
    deadline = time.monotonic() + 200
    while len(list(killed.rglob("target-*.safetensors"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in killed.rglob("target-*.safetensors")}
    assert 2 <= len(done) < 5
    assert not (killed / "report.json").exists()
    for out in (killed, whole):
        subprocess.run([*script, *command, "--out", str(out)], check=True, timeout=300, **settings)
    assert all(path.stat().st_mtime_ns == times for path, times in done.items())
    names = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    assert sorted(path.relative_to(killed) for path in killed.rglob("*") if path.is_file()) == names
    assert all((killed / name).read_bytes() == (whole / name).read_bytes() for name in names)
