"""The script on ImageNet's certificates, end to end on a few small pictures, and whose photos are whose."""

import csv
import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import interpolate

from blurnet.certified.double_masking import DoubleMasking
from blurnet.data.images import read_image
from blurnet.files import read_safetensors, save_weights
from blurnet.nets.vision import timm_net
from reproduce import masked_imagenet
from reproduce._common.imagenet import MORE_PHOTOS, PartedPhotos, Pretrained, seen_as
from reproduce._common.photos import PHOTOS

FEW = ("--image-size", "32", "--patch", "4", "--held-out", "4", "--batch", "4", "--epochs", "2", "--masks", "2", "3")


@pytest.fixture(scope="module")
def net() -> nn.Module:
    pytest.importorskip("timm", reason="timm is not installed")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return seen_as(timm_net("mobilenetv2_050", 1000)).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def root(net: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures and five more, labelled by the net's own answers, and its weights."""
    root = tmp_path_factory.mktemp("photos")
    generator = torch.Generator().manual_seed(0)
    for folder, count in ((PHOTOS, 10), (MORE_PHOTOS, 5)):
        (root / folder / "images").mkdir(parents=True)
        with (root / folder / "labels.csv").open("w") as table:
            rows = csv.writer(table)
            rows.writerow(["file", "label"])
            for number in range(count):
                picture = interpolate(torch.rand(1, 3, 6, 6, generator=generator), 32, mode="bilinear")[0]
                file = root / folder / "images" / f"{number}.png"
                Image.fromarray((picture * 255).byte().permute(1, 2, 0).numpy()).save(file)
                rows.writerow([file.name, int(net(read_image(file)[None] / 255).argmax())])
    save_weights(net[1], root / "net.safetensors")
    return root


@pytest.fixture
def script(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the script on the small net; its written rows and what it printed."""
    small = Pretrained("timm/mobilenetv2_050", "net.safetensors")
    monkeypatch.setitem(masked_imagenet.NETS, "efficientnet-lite0", small)

    def run(*more: str) -> tuple[dict[str, Any], str]:
        file = tmp_path / "written.json"
        words = ["--data-root", str(root), *FEW, *more, "--out", str(tmp_path / "out"), "--json", str(file)]
        monkeypatch.setattr("sys.argv", ["masked_imagenet", *words])
        importlib.import_module("reproduce.masked_imagenet").main()
        return json.loads(file.read_text()), capsys.readouterr().out

    return run


def test_the_table_from_end_to_end(script, root, net, tmp_path, monkeypatch) -> None:
    written, printed = script()
    assert [(row["row"], row["masks"]) for row in written["rows"]] == [
        (name, masks) for masks in (2, 3) for name in (masked_imagenet.PLAIN, masked_imagenet.TAUGHT)
    ]
    photos = PartedPhotos(root=root, test=4, val=4, image_size=32).load("test")
    for row in written["rows"]:
        measured = row["measured"]
        assert measured["certified"]["count"] <= measured["defended"]["count"]
        assert row["passes"] >= row["masks"] ** 2
        if row["row"] == masked_imagenet.PLAIN:
            held = DoubleMasking(net, patch=4, masks=row["masks"]).certify(*photos.tensors())
            assert measured["clean"]["value"] == 100  # by how they were labelled
            assert measured["certified"]["count"] == int(held.certified.sum())
            assert row["passes"] == pytest.approx(held.passes.float().mean().item(), abs=0.06)
    assert written["settings"]["photos"] == {"train": 7, "val": 4, "test": 4}
    assert written["training_seconds"] >= 0
    assert "k = 3, photos won and lost by training: certified +" in printed
    assert str(tmp_path) not in json.dumps(written)
    monkeypatch.setattr(masked_imagenet, "_fit", None)  # everything is there
    monkeypatch.setattr(masked_imagenet, "DoubleMasking", lambda *_, **__: None)
    assert script()[0]["rows"] == written["rows"]


def test_what_training_changes(script, net, root, tmp_path) -> None:
    """The late layers move; the stem, the frozen stage and all of BatchNorm's statistics rest."""
    script("--masks", "2", "--lr", "0.1", "--frozen", "1")
    (file,) = (tmp_path / "out").glob("*-taught.safetensors")
    now, before = read_safetensors(file), net.state_dict()
    moved = {name for name, value in before.items() if not torch.equal(value, now[name])}
    assert moved
    assert not {n for n in moved if "running_" in n or n.startswith(("net.conv_stem", "net.bn1", "net.blocks.0"))}
    assert {"net.classifier.weight", "net.blocks.1.0.conv_pw.weight"} <= moved


def test_none_of_the_way_is_the_start(script) -> None:
    """With weights that the rate has spoiled, all of the way is another net."""
    half = script("--masks", "2", "--lr", "1", "--clip", "100", "--mix", "1")[0]["rows"]
    none = script("--masks", "2", "--lr", "1", "--clip", "100", "--mix", "0")[0]["rows"]
    assert none[0] == half[0]
    assert none[1]["measured"] == none[0]["measured"]
    assert half[1]["measured"] != half[0]["measured"]


def test_an_interrupted_training_goes_on(script, tmp_path, monkeypatch) -> None:
    """Stopped after its first epoch, it ends with the weights of an uninterrupted one, and counts both epochs' time."""
    script("--masks", "2")
    (file,) = (tmp_path / "out").glob("*-taught.safetensors")
    whole = read_safetensors(file)
    (folder,) = (tmp_path / "out").glob("*-epochs")
    file.unlink()
    (folder / "last.ckpt").unlink()
    ends, end = [], masked_imagenet.Clock.on_train_epoch_start

    def stopped(clock: Any, trainer: Any, module: Any) -> None:
        ends.append(trainer.current_epoch)
        if ends == [0, 1]:
            raise InterruptedError
        end(clock, trainer, module)

    monkeypatch.setattr(masked_imagenet.Clock, "on_train_epoch_start", stopped)
    with pytest.raises(InterruptedError):
        script("--masks", "2")
    script("--masks", "2")
    assert ends == [0, 1, 1]
    again = read_safetensors(file)
    assert all(torch.equal(value, again[name]) for name, value in whole.items() if name != "seconds")


def test_no_photo_is_in_two_parts(root) -> None:
    data = PartedPhotos(root=root, test=4, val=4, image_size=32)
    parts = {split: data.files(split).paths for split in ("test", "val", "train")}
    assert [path.name for path in parts["test"]] == ["0.png", "1.png", "2.png", "3.png"]
    assert {split: len(paths) for split, paths in parts.items()} == {"test": 4, "val": 4, "train": 7}
    assert len(set().union(*parts.values())) == 15


def test_what_the_verdict_counts() -> None:
    plain, now = {"certified": "1000", "clean": "1111"}, {"certified": "0110", "clean": "1101"}
    said = masked_imagenet.verdict(3, plain, now)
    assert said.startswith("k = 3, photos won and lost by training: certified +2 -1 (sign test p = 1); clean +0 -1")
