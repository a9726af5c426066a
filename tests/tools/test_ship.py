"""The zoo is made by one command: models, cards, READMEs and the leaderboard, evaluations left out here."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from blurnet.certified.double_masking import DoubleMasking
from blurnet.cli.options import parser
from blurnet.zoo import models
from blurnet.zoo.models import list_models, load_model, models_root
from tools import ship

if not list_models():
    pytest.skip("no models in this checkout", allow_module_level=True)

SHIPPED = models_root()
NAMES = ("lisa_cnn", "lisa_cnn-tv")


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of its own with two of the shipped models."""
    root = tmp_path / "models"
    for name in NAMES:
        shutil.copytree(SHIPPED / name, root / name)
    monkeypatch.setattr(models, "models_root", lambda: root)
    monkeypatch.setattr(ship, "models_root", lambda: root)
    monkeypatch.chdir(tmp_path)
    return root


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """In place of an evaluation: its parsed arguments, and the report that the model was shipped with."""
    calls: list[Any] = []

    def evaluate(arguments: list[str]) -> int:
        calls.append(parser().parse_args(arguments))
        out = Path(calls[-1].out)
        out.mkdir(parents=True)
        report = json.loads((SHIPPED / "lisa_cnn-tv" / "report.json").read_text())
        report["model"]["sha256"] = load_model(calls[-1].model).card.sha256
        (out / "report.json").write_text(json.dumps(report))
        return 0

    monkeypatch.setattr(ship, "evaluate_main", evaluate)
    return calls


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["ship", *arguments])
    ship.main()


def test_what_is_generated_from_the_cards_is_what_stands_there(zoo: Path, monkeypatch) -> None:
    for name in NAMES:
        (zoo / name / "README.md").write_text("lost")
    run(monkeypatch, "--render")
    for name in NAMES:
        assert (zoo / name / "README.md").read_text() == (SHIPPED / name / "README.md").read_text()
        before, after = (json.loads((root / name / "card.json").read_text()) for root in (SHIPPED, zoo))
        assert after == after | before  # a later version may state more, and says the same
    table = (zoo / "README.md").read_text()
    assert all(name in table for name in NAMES)
    assert "lisa_cnn-pgd" not in table
    assert "<svg" in (zoo / "leaderboard.svg").read_text()


def test_a_run_becomes_a_model_with_its_figures(zoo: Path, evaluated, monkeypatch, tmp_path) -> None:
    trained = tmp_path / "run" / "model"
    shutil.copytree(SHIPPED / "lisa_cnn-tv", trained)
    (trained / "report.json").unlink()
    shutil.rmtree(zoo / "lisa_cnn-tv")
    run(monkeypatch, "--root", str(tmp_path), f"lisa_cnn-tv={trained.parent}")
    (asked,) = evaluated
    assert (asked.model, asked.attacks, asked.steps, asked.loss) == ("lisa_cnn-tv", "rp2,autopatch,pgd", 150, "margin")
    assert asked.allow_flags
    card, shipped = load_model("lisa_cnn-tv").card, json.loads((SHIPPED / "lisa_cnn-tv" / "card.json").read_text())
    assert card.rp2.average.count == shipped["rp2"]["average"]["count"]
    assert card.published.average == 7.92
    assert (zoo / "lisa_cnn-tv" / "report.json").is_file()
    run(monkeypatch, "--root", str(tmp_path), f"lisa_cnn-tv={trained.parent}")
    assert len(evaluated) == 1  # it stays as it is


def test_a_net_is_shipped_behind_a_certified_defense(zoo: Path, evaluated, monkeypatch, tmp_path) -> None:
    trained = tmp_path / "run" / "model"
    shutil.copytree(SHIPPED / "lisa_cnn-tv", trained)
    (trained / "report.json").unlink()
    run(monkeypatch, "--root", str(tmp_path), "--behind", "double_masking:area=0.05:masks=3", f"new={trained.parent}")
    (asked,) = evaluated
    assert (asked.certify, asked.attack_certified, asked.sanity, asked.steps) == (True, False, False, 40)
    net = load_model("new")
    assert isinstance(net, DoubleMasking)
    assert (net.settings.area, net.settings.masks) == (0.05, 3)
    assert (net.card.defense, net.card.title) == (
        "double_masking+total_variation",
        f"{load_model('lisa_cnn-tv').card.title}, behind double_masking(area=0.05, masks=3)",
    )
    run(monkeypatch, "--root", str(tmp_path), "--held-out", "64", "new")
    assert (evaluated[1].certify, evaluated[1].on, evaluated[1].attack_certified) == (True, "data", False)


def test_held_out_images_are_a_column_of_their_own(zoo: Path, evaluated, monkeypatch, tmp_path) -> None:
    before = load_model("lisa_cnn-tv").card
    run(monkeypatch, "--root", str(tmp_path), "--held-out", "64", "lisa_cnn-tv")
    (asked,) = evaluated
    assert (asked.on, asked.limit, asked.attacks, asked.sanity) == ("data", 64, "autopatch", False)
    after = load_model("lisa_cnn-tv").card
    assert after.rp2 == before.rp2
    assert [figures.robust.n for figures in after.held_out] == [40, 40]  # those of the report in its place


def test_the_best_of_a_row_is_shipped(zoo: Path) -> None:
    best = ship.best_of_rows(Path("runs"))
    assert "lisa_cnn" not in best
    assert best["lisa_cnn-linf3"].startswith("runs/")


def test_the_data_must_be_named(monkeypatch) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch)
