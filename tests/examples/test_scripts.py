"""The scripts of examples/ run as a user runs them, on tiny data, and print what they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image
from torchvision.utils import save_image

from blurnet.data.synthetic.dataset import SyntheticSigns
from blurnet.data.synthetic.maps import render_map
from blurnet.zoo.models import list_models, load_model
from examples import attack_and_report, defend_your_net, extract_map_text, load_checkpoint, train_on_your_folder

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = (attack_and_report, defend_your_net, extract_map_text, load_checkpoint, train_on_your_folder)


def run(script: str, *arguments: object, cwd: Path) -> str:
    """What the script prints when it runs in a folder of its own; pickles and the network stay out of it."""
    command = [sys.executable, REPOSITORY / "examples" / f"{script}.py", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__.rpartition(".")[2])
def test_help_says_how_to_run_it(script: ModuleType, monkeypatch, capsys) -> None:
    name = script.__name__.rpartition(".")[2]
    monkeypatch.setattr("sys.argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as stopped:
        script.main()
    assert stopped.value.code == 0
    commands = re.findall(r"^ *python (\S+)", capsys.readouterr().out, re.MULTILINE)
    assert set(commands) == {f"examples/{name}.py"}
    assert f"(examples/{name}.py)" in (REPOSITORY / "README.md").read_text()


@pytest.mark.skipif(not list_models(), reason="no models in this checkout")
def test_load_checkpoint_names_signs(tmp_path: Path) -> None:
    data = SyntheticSigns("test", size=17, image_size=48)  # larger than the net's
    for index in (13, 16):
        image, label = data[index]
        save_image(image, tmp_path / f"{data.classes[label]}.png")
    name = "lisa_cnn-synthetic-linf7"
    text = run("load_checkpoint", "--model", name, "stop.png", "yield.png", cwd=tmp_path)
    assert load_model(name).card.title in text
    stop, yields = text.splitlines()[-2:]
    assert stop.split()[:2] == ["stop.png", "stop"], "a clean stop sign is read"
    assert yields.startswith("yield.png ")
    names, images = load_checkpoint.rendered()
    assert (len(names), images.shape) == (6, (6, 3, 32, 32))


def test_defend_your_net_attacks_both(tmp_path: Path) -> None:
    text = run("defend_your_net", "--train", 85, "--epochs", 1, "--images", 1, cwd=tmp_path)
    for line in ("clean", "patch made on plain", "patch made on itself"):
        assert re.search(rf"^{line} +\d+\.\d% +\d+\.\d%$", text, re.MULTILINE), text


def test_train_on_your_folder_makes_a_model(tmp_path: Path) -> None:
    folder, out = train_on_your_folder.rendered(tmp_path / "signs", 170), tmp_path / "run"
    text = run("train_on_your_folder", "--folder", folder, "--epochs", 1, "--out", out, cwd=tmp_path)
    net = load_model(out / "run" / "model")
    assert net.classes == SyntheticSigns(size=17, outputs=17).classes
    assert [defense.name for defense in net.spec.defenses] == ["learned_low_pass"]
    assert f"classes: {', '.join(net.classes)}" in text
    rate = r"\d+\.\d % \[[\d., ]+\], n = 34"
    assert re.search(rf"answered correctly: {rate}; under PGD of radius 0.016: {rate}", text), text


@pytest.mark.skipif(not list_models(), reason="no models in this checkout")
def test_attack_and_report_writes_the_page(tmp_path: Path) -> None:
    text = run("attack_and_report", "--attacks", "pgd", "--limit", 2, "--jpeg", 75, "--out", "report", cwd=tmp_path)
    under = r"^answered correctly under pgd +\d+\.\d % .*, n = 2   the whole image, linf at most 8/255$"
    assert re.search(under, text, re.MULTILINE), text
    assert "Open report/report.html" in text
    assert (tmp_path / "report" / "report.html").read_text().startswith("<!doctype html>")


def test_extract_map_text_draws_four_panels(tmp_path: Path) -> None:
    small = ("--size", 96, "--iterations", 3)
    text = run("extract_map_text", *small, cwd=tmp_path)
    assert re.search(r"^a rendered map with \d+ words?, 96 x 96 pixels: 3 iterations$", text, re.MULTILINE), text
    assert re.search(
        r"^marked: \d+\.\d% of the ink of its words; ink: \d+\.\d% of what is marked$", text, re.MULTILINE
    ), text
    with Image.open(tmp_path / "map_text.png") as panels:
        assert panels.width > 3.5 * panels.height
    save_image(render_map((40, 70), 1).image, tmp_path / "mine.png")
    text = run("extract_map_text", "--image", "mine.png", "--iterations", 2, "--out", "a/b.png", cwd=tmp_path)
    assert "mine.png, 70 x 40 pixels: 2 iterations" in text
    assert "marked" not in text
    assert (tmp_path / "a" / "b.png").stat().st_size > 1000
