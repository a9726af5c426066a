"""Words of maps found by a mask, and the script from end to end on small rendered and "scanned" maps."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.utils import save_image

from blurnet.data.synthetic.maps import render_map
from blurnet.transforms.deep_image_prior.text import TextMaskSettings
from reproduce import map_text
from reproduce._common import maps
from reproduce._common.maps import MOVES, Piece, f1, maps_folder, rendered, scanned, score, summary


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder above maps/, with one "scan" of 150 x 180 pixels and the boxes of its words, some turned around."""
    folder = tmp_path_factory.mktemp("data") / "maps"
    folder.mkdir()
    sheet = render_map((150, 180), 0, words=6)
    save_image(sheet.image, folder / "sheet.png")
    lines = ["file,text,polygon"]
    for text, (top, bottom, left, right) in sheet.words:
        lines.append(f'sheet.png,{text},"{left},{top} {right},{top} {right},{bottom} {left},{bottom}"')
    lines.append('sheet.png,HUGE,"0,0 180,0 180,150 0,150"')
    (folder / "words.csv").write_text("\n".join(lines) + "\n")
    return folder.parent


def square(*boxes: tuple[int, int, int, int], side: int = 40) -> Tensor:
    out = torch.zeros(side, side, dtype=torch.bool)
    for top, bottom, left, right in boxes:
        out[top:bottom, left:right] = True
    return out


def piece(*boxes: tuple[int, int, int, int]) -> Piece:
    words = torch.stack([square(box) for box in boxes])
    return Piece(torch.zeros(3, 40, 40), words, words.any(0))


def test_a_word_is_found_from_half_of_its_ink() -> None:
    two = piece((0, 4, 0, 10), (20, 24, 20, 30))
    assert score(square((0, 2, 0, 10)), two)["found"] == "10"
    assert score(square((0, 2, 0, 9), (20, 24, 25, 40)), two)["found"] == "01"
    assert score(square(), two)["found"] == "00"


def test_pixels_right_and_wrong() -> None:
    found = score(square((0, 4, 0, 5), (30, 34, 0, 5)), piece((0, 4, 0, 10)))
    assert (found["right"], found["ink"], found["set"]) == (20, 40, 40)
    assert f1([found]) == 50
    assert found["marked"] == 40 / 1600
    other = score(square(), piece((0, 4, 0, 10)))
    assert f1([found, other]) == pytest.approx(100 * 40 / 120)


def test_everything_finds_every_word_and_so_does_chance() -> None:
    two = piece((0, 4, 0, 10), (20, 24, 20, 30))
    full = summary([score(torch.ones(40, 40, dtype=torch.bool), two)])
    assert (full["recall"].value, full["chance"], full["marked"]) == (100, 100, 100)
    exact = summary([score(two.text, two)])
    assert (exact["recall"].value, exact["f1"]) == (100, 100)
    assert exact["chance"] < 20


def test_chance_is_the_same_mask_elsewhere() -> None:
    """Half of all pixels as a checkerboard keep their share wherever they are moved."""
    board = (torch.arange(40)[:, None] + torch.arange(40)) % 2 == 0
    found = score(board, piece((0, 4, 0, 10)))
    assert found["chance"] == 1
    assert MOVES > 1
    assert 0 < score(square((0, 40, 0, 20)), piece((0, 4, 0, 4)))["chance"] < 1


def test_rendered_pieces_hold_each_word_s_ink() -> None:
    for one in rendered([0, 1], 96):
        assert one.text is not None
        assert torch.equal(one.words.any(0), one.text)
        assert one.words.sum(0).max() == 1


def test_maps_without_words_are_left_out(monkeypatch) -> None:
    monkeypatch.setattr(maps, "render_map", lambda size, seed: render_map(size, seed, words=seed))
    assert len(rendered([0, 1, 0], 96)) == 1
    with pytest.raises(ValueError, match="no word fits on a rendered map of 96 pixels"):
        rendered([0, 0], 96)


def test_scanned_pieces_hold_words_whole_and_once(root: Path) -> None:
    pieces = scanned(maps_folder(root), size=100, scale=1.0, limit=9, seed=0)["sheet.png"]
    again = scanned(root / "maps", size=100, scale=1.0, limit=9, seed=0)["sheet.png"]
    words = render_map((150, 180), 0, words=6).words
    assert sum(len(one.words) for one in pieces) == sum(max(box[1] - box[0], box[3] - box[2]) < 100 for _, box in words)
    for one, other in zip(pieces, again, strict=True):
        assert one.image.shape == (3, 100, 100)
        assert one.text is None
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.words, other.words)
        gray = one.image.mean(0)
        for ink in one.words:
            assert 20 < ink.sum() < 1500
            assert gray[ink].mean() < gray.mean() - 0.1
    assert len(scanned(root / "maps", size=100, scale=1.0, limit=1, seed=0)["sheet.png"]) == 1
    half = scanned(root / "maps", size=50, scale=0.5, limit=1, seed=0)["sheet.png"]
    assert half[0].image.shape == (3, 50, 50)


def test_ink_of_a_box_is_what_is_dark_there() -> None:
    part = torch.full((3, 40, 40), 0.9)
    part[:, 10:14, 10:20] = 0.2
    part[:, 30:34, 10:20] = 0.1  # outside of the box
    box = maps.np.array([(5, 5), (25, 5), (25, 20), (5, 20)])
    assert torch.equal(maps._ink(part, box), square((10, 14, 10, 20)))


def test_bad_folders_raise(root: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"neither .* holds a words\.csv"):
        maps_folder(tmp_path)
    with pytest.raises(ValueError, match=r"90 x 75 pixels at scale 0\.5 are less than a piece of 100"):
        scanned(root / "maps", size=100, scale=0.5, limit=1, seed=0)
    (tmp_path / "words.csv").write_text("name,box\na,b\n")
    with pytest.raises(ValueError, match="expected columns file and polygon"):
        scanned(tmp_path, size=32, scale=1.0, limit=1, seed=0)


@pytest.fixture
def script(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the script on tiny maps; what it wrote and what it printed."""
    monkeypatch.setattr(map_text, "GRID", (TextMaskSettings(), TextMaskSettings(level=0.9)))
    monkeypatch.setattr(map_text, "SIGMAS", (2.0, 4.0))

    def run(*more: str) -> tuple[dict[str, Any], str]:
        small = ["--size", "64", "--at", "3", "6", "--rendered", "2", "--tuning", "2", "--limit", "2", "--scale", "1"]
        places = ["--out", str(tmp_path / "out"), "--json", str(tmp_path / "rows.json")]
        monkeypatch.setattr("sys.argv", ["map_text", *small, *places, *more])
        map_text.main()
        return json.loads((tmp_path / "rows.json").read_text()), capsys.readouterr().out

    return run


def test_the_script_from_end_to_end(script, root: Path, monkeypatch) -> None:
    written, printed = script("--root", str(root))
    rows = written["rows"]
    assert [row["ink"] for row in rows] == ["any", "any", "dark", "dark", "any", "dark"]
    assert [row["row"] for row in rows[:2]] == ["prior, 3 iterations", "prior, 6 iterations"]
    assert rows[4]["row"].startswith("Gaussian blur, sigma ")
    for ink in ("any", "dark"):
        assert sum(row["chosen"] for row in rows[:4] if row["ink"] == ink) == 1
    for row in rows:
        assert list(row["measured"]) == ["rendered", "sheet.png"]
        assert "f1" in row["measured"]["rendered"]
        assert "f1" not in row["measured"]["sheet.png"]
        assert row["row"] in printed
    assert written["command"].startswith("python -m reproduce.map_text")
    assert "--root DIR" in written["command"]

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(map_text, "tiled_prior", refuse)
    assert script("--root", str(root))[0]["rows"] == rows
    with pytest.raises(AssertionError, match="again"):
        script("--root", str(root), "--seed", "1")


def test_without_a_folder_only_rendered_maps_count(script) -> None:
    written, printed = script()
    assert all(list(row["measured"]) == ["rendered"] for row in written["rows"])
    assert "sheet" not in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--rendered", "0"), "--rendered: expected at least 1, got 0"), (("--scale", "0"), r"--scale: .*got 0\.0")],
)
def test_bad_arguments_raise(arguments, message, script) -> None:
    with pytest.raises(ValueError, match=message):
        script(*arguments)
