"""Certified masking on signs: what is proven and what is attacked of one set of images."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from tqdm import tqdm

from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.certified.double_masking import DoubleMasking
from blurnet.masks import Place
from reproduce import certified_masking
from reproduce._common.cells import Cells
from reproduce.certified_masking import SKIPPED, Subject, row, verdict


class Mean(nn.Module):
    """Bright or dark: masks, which fill with 0.5, turn the answer of images whose mean is little above 0.6."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((1, 2, 3))
        return torch.stack([mean, 1.2 - mean], 1)


@pytest.fixture
def subject() -> Subject:
    """Three bright images, three that stay bright under one mask but not under two, and a dark one."""
    means = torch.tensor([0.9, 0.85, 0.8, 0.67, 0.655, 0.65, 0.4])
    images = means.view(-1, 1, 1, 1).expand(-1, 3, 32, 32).contiguous()
    model = DoubleMasking(Mean(), area=0.05, masks=3).eval()
    attack = PatchPGD(Place(0.05, "border", 0), steps=5)
    return Subject("toys", images, torch.zeros(7, dtype=torch.int64), None, model, attack)


def test_a_line_of_the_table(subject, tmp_path: Path, monkeypatch) -> None:
    cells = Cells(tmp_path, "x", {})
    with tqdm(disable=True) as bar:
        found = row(subject, cells, 2, bar)
    measured = {name: rate.count for name, rate in found["measured"].items()}
    assert measured["plain"] == measured["defended"] == 6
    assert measured["certified"] == 3
    assert measured["certified"] <= measured["AutoPatch"] <= measured["transfer"] <= measured["defended"]
    counts = found["attacked"]
    assert (counts["not certified"], counts["certified"], counts["of those broken"]) == (3, 2, 0)
    assert counts["of these broken"] == 6 - measured["AutoPatch"] > 0
    said = verdict([found, {"row": "only certified"}])
    assert said == [
        "toys: of 3 images answered correctly but not certified AutoPatch breaks "
        f"{counts['of these broken']}, by transfer {counts['of these broken by transfer']}; of 2 certified ones 0."
    ]
    monkeypatch.setattr(Subject, "_attacked", None)  # a second run attacks nothing anew
    with tqdm(disable=True) as bar:
        assert row(subject, Cells(tmp_path, "x", {}), 2, bar) == found


def test_what_is_attacked(subject, tmp_path: Path) -> None:
    """Every image that is answered correctly but not certified, and as many certified ones as were asked for."""
    cells = Cells(tmp_path, "x", {})
    with tqdm(disable=True) as bar:
        few, none = (subject.under(cells, proven, bar)["AutoPatch"] for proven in (1, 0))
    assert [mark != SKIPPED for mark in few] == [True, False, False, True, True, True, False]
    assert [mark != SKIPPED for mark in none] == [False, False, False, True, True, True, False]


def test_from_end_to_end(shared_data: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    net = DoubleMasking(certified_masking.load_model("lisa_cnn"), area=0.05, masks=2).eval()
    net.classes, net.card = net.model.classes, net.model.card
    monkeypatch.setattr(certified_masking, "load_model", lambda name, device: net)
    options = ["--limit", "3", "--proven", "0", "--budget", "quick", "--reach", "0", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["x", "--root", str(shared_data), *options])
    attack = PatchPGD(Place(0.05, "border", 0), steps=1)
    monkeypatch.setattr(certified_masking, "AutoPatch", lambda *args, **settings: attack)
    certified_masking.main()
    printed = capsys.readouterr().out
    assert "1026 held-out crops, one 7x7-pixel patch (4.8 % of 32x32), anywhere" in printed
    assert "stop signs, RP2's stickers, 4 boxes of together" in printed
