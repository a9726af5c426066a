"""The scripts of LGS's tables and figures, end to end on a few small pictures, and the figures they publish."""

import importlib
import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from blurnet.files import save_weights
from blurnet.masks import Place
from blurnet.nets.lisa_cnn import LisaCNN
from blurnet.rates import Rate
from reproduce import lgs_figures, lgs_table1, lgs_table2, lgs_table3
from reproduce._common import lgs
from reproduce._common.answers import answers
from reproduce._common.cells import Cells
from reproduce._common.photos import Setup, load_setup, setup_parser
from tests.reproduce.photos import write_photos

SCRIPTS = ("lgs_table1", "lgs_table2", "lgs_table3", "lgs_figure3", "lgs_figures")

#: Table 1 as published: clean, 2, 3 and 4 %.
TABLE_1 = """
none 75.61 11.00 2.79 0.78
lgs:smoothing=2.3 71.05 70.90 69.84 69.37
lgs:smoothing=2.1 71.50 70.80 69.54 68.56
lgs:smoothing=1.9 71.84 70.40 68.84 66.98
lgs:smoothing=1.7 72.30 69.55 67.32 63.38
lgs:smoothing=1.5 72.72 67.68 64.13 55.67
digital_watermark 52.77 67.70 66.19 64.57
median:size=3 70.59 63.90 62.15 59.81
gaussian:window=5 61.75 59.52 57.68 55.29
bilateral:window=5 65.70 61.53 58.70 55.59
jpeg:quality=80 74.35 18.14 6.23 2.06
jpeg:quality=60 72.71 25.69 11.86 4.85
jpeg:quality=40 71.20 37.10 23.26 12.73
jpeg:quality=30 70.04 45.00 33.72 22.04
jpeg:quality=20 67.51 52.84 46.25 37.19
jpeg:quality=10 60.25 53.10 48.73 43.59
total_variation_min:weight=10 70.21 14.48 4.64 1.73
total_variation_min:weight=20 72.85 13.24 3.78 1.17
total_variation_min:weight=30 73.85 12.79 3.53 1.04
bit_depth:bits=1 39.85 25.93 15.14 9.73
bit_depth:bits=2 64.61 16.32 6.15 2.68
bit_depth:bits=3 72.83 13.40 3.89 1.25
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments of every script: nine coloured pictures of three classes, and a small net."""
    root = tmp_path_factory.mktemp("photos")
    write_photos(root, 3, 40)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_weights(LisaCNN(3), weights := root.parent / "net.safetensors")
    return ["--data-root", str(root), "--model", "lisa_cnn", "--weights", str(weights), "--image-size", "32"]


@pytest.fixture
def script(photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a script; its written rows (None for the pictures) and what it printed."""

    def run(name: str, *more: str) -> tuple[dict[str, Any] | None, str]:
        file, shared = tmp_path / f"{name}.json", [*photos, "--batch", "4"]
        places = [] if name == "lgs_figure3" else ["--out", str(tmp_path / name)]
        places += [] if name == "lgs_figures" else ["--json", str(file)]
        monkeypatch.setattr("sys.argv", [name, *shared, *places, *more])
        importlib.import_module(f"reproduce.{name}").main()
        return json.loads(file.read_text()) if file.exists() else None, capsys.readouterr().out

    return run


def setup_of(photos: list[str], *more: str) -> Setup:
    return load_setup(setup_parser("", limit=99).parse_args([*photos, *more]))


def test_tables_hold_every_published_figure() -> None:
    published = {line.split()[0]: tuple(map(float, line.split()[1:])) for line in TABLE_1.strip().splitlines()}
    assert {row.text or "none": row.accuracy for row in lgs.DEFENSES} == published
    assert list(lgs_table2.PUBLISHED.values()) == [0.0, 90.5, 80.0, 49.1, 45.0, 1.0, 0.0]
    assert list(lgs_table3.PUBLISHED.values()) == [88.0, 18.0, 25.6, 75.0, 73.3, 78.1, 83.0]
    texts = ["", "lgs:smoothing=2.3", "digital_watermark", "median:size=3", "jpeg:quality=30"]
    texts += ["total_variation_min:weight=10", "bit_depth:bits=3"]
    assert [row.text for row in lgs.COMPARED_ROWS] == texts


def test_patches_have_the_paper_s_sides() -> None:
    boxes = [Place(area).boxes(torch.zeros(1, 3, 299, 299))[0] for area in (*lgs.AREAS, lgs_table2.AREA)]
    assert [int(bottom - top) for top, bottom, *_ in boxes] == [42, 52, 60, 95]


def test_table_1_from_end_to_end(script) -> None:
    written, printed = script("lgs_table1", "--steps", "2")
    assert [row["row"] for row in written["rows"]] == [row.name for row in lgs_table1.ROWS]
    for row in written["rows"]:
        assert list(row["published"]) == list(row["measured"]) == ["clean", "2%", "3%", "4%"]
        assert all(cell["n"] == 9 and cell["low"] <= cell["value"] <= cell["high"] for cell in row["measured"].values())
        assert row["row"] in printed
    assert written["attack"]["4%"]["target reached"]["n"] == 9
    assert written["settings"]["steps"] == 2
    assert "--data-root DIR --model lisa_cnn --weights FILE" in written["command"]
    assert "/" not in written["command"]


def test_the_clean_column_may_have_more_photos(script) -> None:
    rows = ("--steps", "2", "--limit", "4", "--rows", "none")
    (few,), (more,) = (
        script("lgs_table1", *rows)[0]["rows"],
        script("lgs_table1", *rows, "--clean-limit", "9")[0]["rows"],
    )
    assert [cell["n"] for cell in few["measured"].values()] == [4, 4, 4, 4]
    assert [cell["n"] for cell in more["measured"].values()] == [9, 4, 4, 4]
    assert few["measured"]["2%"] == more["measured"]["2%"]


def test_a_second_run_repeats_nothing(script, monkeypatch) -> None:
    first, _ = script("lgs_table1", "--steps", "2", "--rows", "none", "LGS, lambda 2.3")

    def refuse(*_: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(lgs_table1, "answers", refuse)
    monkeypatch.setattr(lgs_table1.Pictures, "_attack", refuse)
    second, _ = script("lgs_table1", "--steps", "2", "--rows", "none", "LGS, lambda 2.3")
    assert second["rows"] == first["rows"]
    with pytest.raises(AssertionError, match="again"):
        script("lgs_table1", "--steps", "3", "--rows", "none")  # other settings, another run


def test_a_row_more_takes_the_pictures_that_are_there(script, monkeypatch) -> None:
    script("lgs_table1", "--steps", "2", "--rows", "none")
    monkeypatch.setattr(lgs_table1.Pictures, "_attack", None)
    written, _ = script("lgs_table1", "--steps", "2", "--rows", "none", "median")
    assert len(written["rows"]) == 2


@pytest.mark.parametrize("attack", ["adam", "lavan"])
def test_pictures_are_what_the_attack_returned(attack: str, photos, tmp_path) -> None:
    setup = setup_of(photos, "--batch", "9")
    arguments = Namespace(attack=attack, steps=2, lr=0.1, seed=0)
    made = lgs_table1.pictures(setup, Cells(tmp_path, "t", {}), arguments, 0.04)
    images, labels = setup.batch(0)
    made.make()
    assert torch.equal(made.batch(0)[0], made.attack(setup.net, images, labels))
    assert not torch.equal(made.batch(0)[0], images)


def test_table_2_from_end_to_end(script, tmp_path) -> None:
    written, printed = script("lgs_table2", "--steps", "2", "--train", "2", "--target", "0", "--confidence", "0.2")
    assert [row["published"] for row in written["rows"]] == list(lgs_table2.PUBLISHED.values())
    assert all(row["measured"]["patched"]["n"] == 4 for row in written["rows"])  # 9, less 3 of the target, less 2
    assert "fooled with 20%" in printed
    assert (tmp_path / "lgs_table2" / "patch.png").is_file()


def test_table_3_from_end_to_end(script) -> None:
    rows = ("--rows", "none", "LGS", "JPEG", "bit depth")
    written, printed = script("lgs_table3", "--steps", "2", *rows)
    assert printed.startswith("LGS's published 18 % ")
    assert printed.splitlines()[0] == written["verdict"]
    assert len(written["rows"]) == 4
    for row in written["rows"]:
        rates = row["measured"]["any wrong answer"]
        assert set(rates) == {"identity", "surrogate", "AutoPatch", "worst"}
        if rates["worst"] is not None:
            assert rates["worst"]["value"] == max(r["value"] for r in rates.values())
            assert (
                sum(row["measured"]["stages"].values()) == rates["worst"]["n"] == row["measured"]["accuracy"]["count"]
            )
    again, _ = script("lgs_table3", "--steps", "2", *rows)
    assert again["rows"] == written["rows"]


@pytest.mark.parametrize(
    ("count", "n", "says"),
    [(40, 50, "does not survive"), (1, 100, "survives:"), (2, 10, "is neither refuted nor confirmed")],
)
def test_the_verdict_goes_by_the_interval(count: int, n: int, says: str) -> None:
    worst = Rate.of(count, n)
    rates = dict.fromkeys(("identity", "surrogate", "AutoPatch", "worst"), worst)
    said = lgs_table3.verdict([{"row": lgs_table3.LGS_ROW, "measured": {"any wrong answer": rates}}])
    assert f"18 % {says}" in said
    assert f"{worst.value:.1f} % [{worst.low:.0f}, {worst.high:.0f}] of {n} photos" in said
    assert "was not tested" in lgs_table3.verdict([])


def test_figure_3_lists_what_each_defense_costs(script) -> None:
    written, printed = script("lgs_figure3", "--rounds", "1")
    rows = {row["row"]: row["measured"] for row in written["rows"]}
    assert len(rows) == 9
    assert rows["copying the batch"]["ratio"] == 1
    assert all(row["seconds for 50,000"] > 0 or row["milliseconds an image"] < 0.002 for row in rows.values())
    assert "s for 50,000" in printed


def test_figures_are_pictures(script, tmp_path) -> None:
    script("lgs_figures", "--steps", "2", "--limit", "9")
    for name in ("gradients.png", "confidences.png"):
        with Image.open(tmp_path / "lgs_figures" / name) as picture:
            assert min(picture.size) > 200


def test_gradient_map_is_equation_6() -> None:
    image = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    gray = image.mean(dim=1)
    across = torch.diff(gray, dim=2, append=2 * gray[..., -1:] - gray[..., -2:-1])
    down = torch.diff(gray, dim=1, append=2 * gray[:, -1:] - gray[:, -2:-1])
    size = (across.square() + down.square()).sqrt()
    expected = (size - size.min()) / (size.max() - size.min())
    torch.testing.assert_close(lgs_figures.gradient_map(image, 0.0), expected, atol=1e-5, rtol=0)
    assert float(lgs_figures.gradient_map(image, 0.9).max()) == 0


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_explains(name: str, monkeypatch, capsys) -> None:
    module = importlib.import_module(f"reproduce.{name}")
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit, match="0"):
        module.main()
    shown = capsys.readouterr().out
    assert module.__doc__.splitlines()[0] in shown
    assert all(option in shown for option in ("--data-root", "--model", "--weights", "--limit", "--image-size"))


def test_what_does_not_fit_is_said(photos, script) -> None:
    with pytest.raises(ValueError, match="name a net"):
        setup_of(photos[:2])
    with pytest.raises(ValueError, match=r"no row begins with 'MF'; there are: none; LGS, lambda 2\.3"):
        script("lgs_table1", "--rows", "MF")
    with pytest.raises(ValueError, match="--train: expected from 1 to 5"):
        script("lgs_table2", "--train", "6", "--target", "0")


def test_a_part_that_fails_leaves_the_others(tmp_path) -> None:
    cells = Cells(tmp_path, "run", {"steps": 1})
    cells.get("a", lambda: 1)
    with pytest.raises(ZeroDivisionError):
        cells.get("b", lambda: 1 // 0)
    again = Cells(tmp_path, "run", {"steps": 1})
    assert again.done == {"a": 1}
    assert Cells(tmp_path, "run", {"steps": 2}).done == {}


def test_the_shared_photos_come_with_their_net(shared_data: Path) -> None:
    setup = setup_of(["--data-root", str(shared_data), "--limit", "8"])
    images, labels = setup.batch(0)
    assert images.shape == (8, 3, 299, 299)
    assert setup.classes[0] == "tench"
    assert int((answers(setup.net, images) == labels).sum()) >= 6
