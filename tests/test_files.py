"""Weights in files: whole, finite, hashed and fitting, or refused."""

import gzip
import hashlib
import json
import pickle

import pytest
import safetensors.torch
import torch
from torch import nn

from blurnet.files import (
    load_weights,
    read_json,
    read_safetensors,
    read_tensors,
    refuse_pickle,
    save_weights,
    write_atomic,
    write_json,
    write_json_lines,
)


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


def header_of(length: int) -> bytes:
    """A safetensors file of one tensor whose header has ``length`` bytes."""
    text = {"__metadata__": {"pad": ""}, "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    text["__metadata__"]["pad"] = "x" * (length - len(json.dumps(text)))
    header = json.dumps(text).encode()
    assert len(header) == length
    return length.to_bytes(8, "little") + header + torch.tensor([1.0, 2.0]).numpy().tobytes()


#: Headers that begin like pickles of protocols 2 to 5: 0x80, then 2 to 5; in three places of a large file too.
LIKE_PICKLES = [0x80 + 0x100 * protocol + 0x10000 * more for protocol in (2, 3, 4, 5) for more in (0, 1, 0x4B, 0x5D)]


@pytest.mark.parametrize("lengths", [LIKE_PICKLES, range(152, 2048, 8)], ids=["like pickles", "all"])
def test_a_file_is_what_it_holds_whatever_the_length_of_its_header(tmp_path, lengths):
    for length in lengths:
        for name in ("w.safetensors", "w.bin", "w.pt"):
            path = tmp_path / name
            path.write_bytes(header_of(length))
            assert read_safetensors(path)["w"].tolist() == [1.0, 2.0]
            tensors, metadata = read_tensors(path, "patch file")
            assert (list(tensors), set(metadata["pad"])) == (["w"], {"x"})
            refuse_pickle(path, "nothing to cure")


def test_what_is_cut_off_is_no_pickle(tmp_path):
    path = tmp_path / "w.safetensors"
    for length, kept in ((n, k) for n in LIKE_PICKLES for k in (0, 3, 8, 9, n // 2, n + 8, n + 15)):
        path.write_bytes(header_of(length)[:kept])
        with pytest.raises(ValueError, match="not a whole safetensors file"):
            read_safetensors(path)


def as_pickles(path, value):
    """The same value in every form that torch and Python pickle it in, one after the other."""
    for protocol in (2, 3, 4, 5):
        path.write_bytes(pickle.dumps(value, protocol=protocol))
        yield
    for modern in (True, False):
        torch.save(value, path, _use_new_zipfile_serialization=modern)
        yield
    path.write_bytes(gzip.compress(pickle.dumps(value)))
    yield


VALUES = [None, 7, [], {}, {"a": 1.5}, "x" * 640, net().state_dict()]
NAMES = ["model.pt", "model.pth", "model.ckpt", "model.bin", "model.safetensors", "model", "picture.png"]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:9])
@pytest.mark.parametrize("name", NAMES)
def test_pickles_are_refused_whatever_their_name(tmp_path, name, value):
    for _ in as_pickles(tmp_path / name, value):
        with pytest.raises(ValueError, match=r"pickle.*convert it once: safetensors.torch.save_file"):
            read_safetensors(tmp_path / name)
        with pytest.raises(ValueError, match=r"looks like a pickle.*refused. save it as PNG"):
            refuse_pickle(tmp_path / name, "save it as PNG")


def test_other_suffixes_of_pickles_are_refused_by_name(tmp_path):
    (tmp_path / "model.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ValueError, match="pickle"):
        read_tensors(tmp_path / "model.npy")


def test_absent_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such weights file"):
        read_safetensors(tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError, match="no such patch file"):
        read_tensors(tmp_path / "none.safetensors", "patch file")
    with pytest.raises(FileNotFoundError, match="no such report"):
        read_json(tmp_path / "none.json", "report")


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


def test_json_round_trip_and_what_json_has_not(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": [1, None, "ü"]})
    assert read_json(path) == {"a": [1, None, "ü"]}
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(path, {"a": float("nan")})
    for text in (b'{"a": NaN}', b'{"a": 1, "a": 2}', b"{", b"\xff"):
        path.write_bytes(text)
        with pytest.raises(ValueError, match=r"a\.json: "):
            read_json(path)


def test_lines_are_written_one_at_a_time_and_whole(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_json_lines(path, ({"i": i} for i in range(3)))
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"i": 0}, {"i": 1}, {"i": 2}]

    def broken():
        yield {"i": 9}
        raise RuntimeError("lost its source")

    with pytest.raises(RuntimeError, match="lost its source"):
        write_json_lines(path, broken())
    assert len(path.read_text().splitlines()) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]
