"""A patch in files and on paper."""

import json
import pickle
import re
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file

from blurnet.attacks.universal.formats import KEY
from blurnet.attacks.universal.patch import Patch, disc


@pytest.mark.parametrize("facts", [{}, {"target": 0, "area": 0.5}, {"target": 7, "meta": {"a": "b"}}], ids=str)
@pytest.mark.parametrize("suffix", [".safetensors", ".png"])
def test_round_trip(suffix, facts, patch, tmp_path):
    saved = Patch(patch.pixels, patch.mask, **facts)
    path = saved.save(tmp_path / f"patch{suffix}")
    loaded = Patch.load(path)
    step = 0 if suffix == ".safetensors" else 0.5 / 255 + 1e-6
    torch.testing.assert_close(loaded.pixels, saved.pixels, atol=step, rtol=0)
    torch.testing.assert_close(loaded.mask, saved.mask, atol=step, rtol=0)
    assert (loaded.target, loaded.area, dict(loaded.meta)) == (saved.target, saved.area, dict(saved.meta))
    assert path.read_bytes() == loaded.save(tmp_path / f"again{suffix}").read_bytes()


def test_any_png_is_a_patch(tmp_path):
    Image.fromarray(np.full((4, 6, 3), 51, dtype=np.uint8)).save(tmp_path / "picture.png")
    loaded = Patch.load(tmp_path / "picture.png")
    assert repr(loaded) == "Patch(4x6, target=None, area=None)"
    assert torch.equal(loaded.mask, torch.ones(1, 4, 6))
    torch.testing.assert_close(loaded.pixels, torch.full((3, 4, 6), 0.2))


def spoil(path, patch, how):
    info = json.dumps({"target": 1, "area": None, "meta": {}})
    tensors = {"pixels": patch.pixels, "mask": patch.mask}
    if how == "nan":
        tensors["pixels"] = patch.pixels * torch.nan
    elif how == "range":
        tensors["pixels"] = patch.pixels * 255
    elif how == "size":
        tensors["mask"] = torch.ones(1, 5, 5)
    elif how == "empty mask":
        tensors["mask"] = patch.mask * 0
    elif how == "bytes":
        tensors = {k: (v * 255).byte() for k, v in tensors.items()}
    elif how == "channels":
        tensors["pixels"] = patch.pixels[:1].contiguous()
    elif how == "names":
        tensors = {"weight": patch.pixels}
    elif how == "keys":
        info = json.dumps({"target": 1})
    elif how == "target":
        info = json.dumps({"target": "toaster", "area": None, "meta": {}})
    elif how == "area":
        info = json.dumps({"target": 1, "area": -1, "meta": {}})
    elif how == "meta":
        info = json.dumps({"target": 1, "area": None, "meta": {"a": 1}})
    elif how == "list":
        info = "[1]"
    elif how == "json":
        info = "{target"
    save_file(tensors, path, {KEY: info})
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-9])


MESSAGES = {
    "nan": "pixels: contains NaN",
    "range": r"pixels: expected pixels in \[0, 1\]",
    "size": "mask: expected the size and dtype",
    "empty mask": "mask: no pixel is set",
    "bytes": "expected a float tensor",
    "channels": r"pixels: expected shape \(N, 3, H, W\)",
    "names": r"expected the tensors pixels and mask, got \['weight'\]",
    "keys": "expected target, area and meta",
    "target": "target: expected a class",
    "area": "area: expected a positive share",
    "meta": "meta: expected text",
    "list": "not a JSON object",
    "json": "not JSON",
    "cut": "not a whole safetensors file",
}


@pytest.mark.parametrize("how", MESSAGES)
def test_spoilt_files_raise(how, patch, tmp_path):
    path = tmp_path / "patch.safetensors"
    spoil(path, patch, how)
    with pytest.raises(ValueError, match=rf"patch\.safetensors.*{MESSAGES[how]}"):
        Patch.load(path)


class Trap:
    def __reduce__(self):
        return exec, ("raise SystemExit('the pickle ran')",)


@pytest.mark.parametrize("name", ["patch.pt", "patch.pkl", "patch.safetensors", "patch.png"])
@pytest.mark.parametrize("pack", [pickle.dumps, lambda x: b"\x1f\x8b" + zlib.compress(pickle.dumps(x))])
def test_pickles_are_refused(pack, name, tmp_path):
    (tmp_path / name).write_bytes(pack(Trap()))
    with pytest.raises(ValueError, match="looks like a pickle, which can run code"):
        Patch.load(tmp_path / name)


def test_other_files_raise(patch, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such patch file"):
        Patch.load(tmp_path / "nothing.png")
    (tmp_path / "broken.png").write_bytes(patch.save(tmp_path / "whole.png").read_bytes()[:60])
    with pytest.raises(ValueError, match=r"broken\.png: not a readable PNG"):
        Patch.load(tmp_path / "broken.png")
    text = PngImagePlugin.PngInfo()
    text.add_text(KEY, "{")
    Image.new("RGB", (4, 4)).save(tmp_path / "text.png", pnginfo=text)
    with pytest.raises(ValueError, match="not JSON"):
        Patch.load(tmp_path / "text.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.jpg")
    for call in (Patch.load, patch.save):
        with pytest.raises(ValueError, match=r"expected \.safetensors or \.png, got 'photo\.jpg'"):
            call(tmp_path / "photo.jpg")


def test_pdf_is_exactly_as_large_as_asked(patch, tmp_path):
    path = patch.export(tmp_path / "patch.pdf", width_cm=10, dpi=150)
    data = path.read_bytes()
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", data)
    wanted = 10 / 2.54 * 72
    assert [float(side) for side in box.groups()] == pytest.approx([wanted, wanted], abs=1e-3)
    assert b"/Width 591" in data
    assert b"DCTDecode" not in data  # no JPEG: the colours are those of the patch
    again = patch.export(tmp_path / "again.pdf", width_cm=10, dpi=150)
    assert again.read_bytes() == data


def test_png_print_states_its_size(tmp_path):
    wide = Patch(torch.rand(3, 10, 20), torch.ones(1, 10, 20))
    with Image.open(wide.export(tmp_path / "wide.png", width_cm=7.3, dpi=200)) as image:
        inches = [dots / dpi for dots, dpi in zip(image.size, image.info["dpi"], strict=True)]
        assert image.size == (575, 287)
    assert [side * 2.54 for side in inches] == pytest.approx([7.3, 3.65], rel=1e-3)


def test_the_print_shows_the_patch_on_white(tmp_path):
    color = torch.tensor([0.2, 0.4, 0.6])[:, None, None].expand(3, 40, 40)
    with Image.open(Patch(color, disc(40)).export(tmp_path / "disc.png", 4, dpi=100)) as image:
        array = np.asarray(image)
    assert array[0, 0].tolist() == [255, 255, 255]
    assert array[78, 78].tolist() == [51, 102, 153]


@pytest.mark.parametrize(("name", "width", "dpi"), [("a.jpg", 5, 300), ("a.png", 0, 300), ("a.pdf", 5, 0)])
def test_bad_prints_raise(name, width, dpi, patch, tmp_path):
    with pytest.raises(ValueError, match="export: expected"):
        patch.export(tmp_path / name, width, dpi)


def test_huge_prints_raise(patch, tmp_path):
    with pytest.raises(ValueError, match="at most 20000"):
        patch.export(tmp_path / "wall.png", width_cm=1000, dpi=600)
