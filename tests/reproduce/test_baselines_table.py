"""BlurNet beside other defenses: figures of cards, of missing models, and of attacks made again."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from blurnet.cli.options import parser
from blurnet.zoo.models import list_models, load_model, models_root
from reproduce import blurnet_baselines as baselines


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the script; its written rows and what it printed."""

    def run(*more: str) -> tuple[dict[str, Any], str]:
        file = tmp_path / "rows.json"
        places = ["--out", str(tmp_path / "out"), "--json", str(file)]
        monkeypatch.setattr("sys.argv", ["blurnet_baselines", *more, *places])
        baselines.main()
        return json.loads(file.read_text()), capsys.readouterr().out

    return run


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """In place of an evaluation: its parsed arguments, and the report that the model was shipped with."""
    calls: list[Any] = []

    def evaluate(arguments: list[str]) -> int:
        config = parser().parse_args(arguments)
        calls.append(config)
        report = (models_root() / config.model / "report.json").read_text()
        Path(config.out).mkdir(parents=True)
        (Path(config.out) / "report.json").write_text(report)
        return 0

    monkeypatch.setattr(baselines, "evaluate_main", evaluate)
    return calls


def test_rows_are_the_cards_figures(script) -> None:
    written, printed = script()
    assert [row["model"] for row in written["rows"]] == list(baselines.ROWS)
    shipped = list_models()
    for row in written["rows"]:
        assert (row["measured"] is None) == (row["model"] not in shipped)
        if row["measured"] is None:
            assert row["source"] == "missing: not shipped"
            assert row["model"] in written["verdict"][3]
            continue
        card, m = load_model(row["model"]).card, row["measured"]
        assert m["accuracy"] == (card.clean and card.clean.as_dict())
        if m["rp2"] is not None:
            assert m["rp2"]["average"] == card.rp2.average.as_dict()
            assert m["rp2"]["average"]["n"] == 680
        for attack in ("autopatch", "pgd"):
            under = card.under(attack)
            assert m[attack] == (under and under.robust.as_dict()) or f"{attack}: other" in str(m["left out"])
    baseline = written["rows"][0]
    assert baseline["published"] == {"accuracy": 91.0, "average": 49.18, "worst": 90.0}
    assert baseline["measured"]["left out"] == []
    assert "91.0 / 49.2 / 90.0" in printed
    assert written["verdict"][0].startswith("RP2 (altered on average): no defense: ")


def test_models_that_are_not_there_are_listed_not_invented(script, monkeypatch) -> None:
    monkeypatch.setattr(baselines, "list_models", lambda: ["lisa_cnn"])
    written, printed = script("--rows", "lisa_cnn", "lisa_cnn-tv", "lisa_cnn-doa")
    assert [row["measured"] is None for row in written["rows"]] == [False, True, True]
    assert written["rows"][1]["published"]["average"] == 7.92
    assert written["rows"][2]["published"] is None
    assert "Not shipped: lisa_cnn-tv, lisa_cnn-doa." in printed


def test_figures_made_with_other_settings_are_left_out() -> None:
    card = load_model("lisa_cnn").card
    weaker = dataclasses.replace(card.rp2, settings=card.rp2.settings.replace("steps=150", "steps=10"))
    elsewhere = [dataclasses.replace(card.per_image[0], images="12 images of synthetic victims")]
    found = baselines.from_card(dataclasses.replace(card, rp2=weaker, per_image=elsewhere))
    assert found["rp2"] is found["autopatch"] is found["pgd"] is None
    assert found["left out"] == [
        "rp2: other settings or victims",
        "autopatch: other settings or victims",
        "pgd: not in the card",
    ]
    assert found["accuracy"] == card.clean.as_dict()


def test_attacking_again_asks_for_the_same_attacks(script, evaluated, tmp_path) -> None:
    rows = ("--rows", "lisa_cnn", "lisa_cnn-tv")
    written, _ = script("--attack", "--data", "lisa-crops", "--root", str(tmp_path), *rows)
    (first, second) = evaluated
    assert (first.model, second.model) == ("lisa_cnn", "lisa_cnn-tv")
    assert (first.attacks, first.steps, first.loss, first.lr, first.lam) == (
        "rp2,autopatch,pgd",
        150,
        "margin",
        0.2,
        0.002,
    )
    assert (first.budget, first.limit, first.victims) == ("standard", None, f"rp2:{tmp_path}")
    assert {row["source"] for row in written["rows"]} == {"attacked"}
    cards, _ = script(*rows)
    for again, card in zip(written["rows"], cards["rows"], strict=True):
        accuracy = [row["measured"].pop("accuracy") for row in (again, card)]
        assert accuracy[0]["count"] == accuracy[1]["count"]  # the shipped reports' interval is of frames, not of tracks
        assert again["measured"] == card["measured"]
    script("--attack", "--data", "lisa-crops", "--root", str(tmp_path), *rows)
    assert len(evaluated) == 2  # finished: not repeated
    script("--attack", "--rows", "lisa_cnn-tikhonov-hf", "--limit", "3", "--budget", "quick")
    assert (evaluated[2].victims, evaluated[2].data, evaluated[2].limit) == ("synthetic", "synthetic", 3)


@pytest.mark.slow
def test_attacking_again_without_any_data(script) -> None:
    weak = ("--limit", "2", "--steps", "2", "--targets", "1,2", "--image-steps", "2", "--budget", "quick")
    written, printed = script("--attack", "--rows", "lisa_cnn-linf5", *weak)
    measured = written["rows"][0]["measured"]
    assert (measured["autopatch"]["n"], measured["rp2"]["average"]["n"]) == (2, 80)
    assert "attacked" in printed


def test_unknown_rows_and_folders_are_refused(script) -> None:
    with pytest.raises(ValueError, match="no row lisa_cnn-x; there are: lisa_cnn, lisa_cnn-input3"):
        script("--rows", "lisa_cnn-x")
    with pytest.raises(SystemExit, match="2"):
        script("--attack", "--data", "lisa-crops")
