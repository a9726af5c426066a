"""Weights in files: whole, finite, hashed and fitting, or refused."""

import hashlib

import pytest
import safetensors.torch
import torch
from torch import nn

from blurnet.files import load_weights, read_safetensors, save_weights, write_atomic


def net(outputs: int = 3, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, outputs))


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.safetensors"
    return path, save_weights(net(), path)


def test_round_trip(saved):
    path, sha256 = saved
    other = net(seed=1)
    assert load_weights(other, path, sha256) is other
    for key, value in net().state_dict().items():
        assert torch.equal(other.state_dict()[key], value)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_same_weights_same_hash(saved, tmp_path):
    assert save_weights(net(), tmp_path / "again.safetensors") == saved[1]


def test_tied_and_half_weights(tmp_path):
    tied = net().half()
    tied.add_module("again", tied[3])
    save_weights(tied, tmp_path / "a.safetensors")
    loaded = net(seed=1)
    loaded.add_module("again", loaded[3])
    load_weights(loaded, tmp_path / "a.safetensors")
    assert loaded[3].weight.dtype == torch.float32


def test_wrong_class_count_is_named_and_changes_nothing(saved):
    other = net(outputs=5, seed=1)
    before = {k: v.clone() for k, v in other.state_dict().items()}
    with pytest.raises(ValueError, match=r"3.weight: the file has float\[3, 4\], the net float\[5, 4\]"):
        load_weights(other, saved[0])
    assert all(torch.equal(v, before[k]) for k, v in other.state_dict().items())


def test_missing_and_unexpected_keys_are_named(saved):
    with pytest.raises(ValueError, match=r"missing weight; missing bias; unexpected 0.bias"):
        load_weights(nn.Linear(2, 2), saved[0])


def test_truncated(saved):
    path, _ = saved
    whole = path.read_bytes()
    for length in (0, 4, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="not a whole safetensors file"):
            load_weights(net(), path)


def test_tampered(saved):
    path, sha256 = saved
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged or tampered"):
        load_weights(net(), path, sha256)


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.ckpt", "model.bin", "model.safetensors"])
def test_pickles_are_refused_whatever_their_name(tmp_path, name):
    path = tmp_path / name
    for modern in (True, False):
        torch.save(net().state_dict(), path, _use_new_zipfile_serialization=modern)
        with pytest.raises(ValueError, match=r"pickle.*convert it once: safetensors.torch.save_file"):
            read_safetensors(path)


def test_absent_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such weights file"):
        read_safetensors(tmp_path / "none.safetensors")


def test_non_finite_weights_are_neither_written_nor_read(tmp_path):
    broken = net()
    with torch.no_grad():
        broken[0].bias[0] = torch.nan
    with pytest.raises(ValueError, match=r"NaN or infinite values in \['0.bias'\]"):
        save_weights(broken, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())
    safetensors.torch.save_file(broken.state_dict(), tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match=r"0.bias"):
        load_weights(net(), tmp_path / "b.safetensors")


def test_wrong_suffix_and_nothing_to_save(tmp_path):
    with pytest.raises(ValueError, match=r"suffix \.safetensors"):
        save_weights(net(), tmp_path / "model.pt")
    with pytest.raises(ValueError, match="no weights"):
        save_weights(nn.ReLU(), tmp_path / "model.safetensors")


def test_failing_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "card.json"
    write_atomic(path, "old")

    def full(_descriptor):
        raise OSError("disk full")

    monkeypatch.setattr("blurnet.files.os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["card.json"]
