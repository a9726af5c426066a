"""The wheel ships the models and loads them from anywhere."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from blurnet.zoo.models import save_model

REPOSITORY = Path(__file__).resolve().parents[2]

LOAD = """
import sys
sys.path.insert(0, sys.argv[1])
import blurnet, torch
from blurnet.templates import render
from blurnet.zoo.readme import render_readme
assert blurnet.__file__.startswith(sys.argv[1]), blurnet.__file__
for name in blurnet.list_models():
    net = blurnet.load_model(name)
    size = 224 if "/" in net.spec.net else 32
    assert net(torch.zeros(1, 3, size, size)).shape == (1, len(net.classes))
    assert net.card.title in render_readme(net.card)
    print(name)
assert "<style>" in render("blurnet.evaluation.render", "page.html.jinja", title="x")
"""


@pytest.mark.slow
def test_wheel_ships_models_that_load_elsewhere(tmp_path, net, spec, card):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("blurnet", "models"):
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    save_model(net, source / "models" / "made-by-the-test", spec=spec, card=card)
    expected = sorted(path.parent.name for path in source.glob("models/*/card.json"))
    run = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", str(tmp_path), str(source)]
    subprocess.run(run, check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("blurnet-*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "unpacked")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    load = [sys.executable, "-c", LOAD, str(tmp_path / "unpacked")]
    done = subprocess.run(load, cwd=elsewhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == expected
