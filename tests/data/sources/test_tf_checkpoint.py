"""The reader against a small writer of the real format: SSTable index, BundleEntryProto, CRC32C."""

import struct

import numpy as np
import pytest
import torch

from blurnet.data.sources._tf_checkpoint import MAGIC, masked_crc32c, read_tf_checkpoint

DTYPES = {np.dtype("float32"): 1, np.dtype("float64"): 2, np.dtype("int32"): 3, np.dtype("int64"): 9}


def varint(n):
    out = b""
    while n > 0x7F:
        out, n = out + bytes([n & 0x7F | 0x80]), n >> 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


def fixed(number, value):
    return varint(number << 3 | 5) + struct.pack("<I", value)


def block(pairs, restart_every=16):
    body, last, restarts = b"", b"", []
    for i, (key, value) in enumerate(pairs):
        shared = 0
        if i % restart_every == 0:
            restarts.append(len(body))
        else:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        body += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    restarts = restarts or [0]
    return body + b"".join(struct.pack("<I", r) for r in restarts) + struct.pack("<I", len(restarts))


def write_checkpoint(prefix, tensors, per_block=3, compression=0):
    data, pairs = b"", [(b"", field(1, 1) + field(3, field(1, 1)))]
    for name, array in sorted(tensors.items()):
        raw = array.tobytes()
        shape = b"".join(field(2, field(1, size)) for size in array.shape)
        entry = field(1, DTYPES.get(array.dtype, 7)) + field(2, shape)
        entry += (field(4, len(data)) if data else b"") + field(5, len(raw)) + fixed(6, masked_crc32c(raw))
        pairs.append((name.encode(), entry))
        data += raw
    table, index = b"", []

    def put(content):
        nonlocal table
        handle = varint(len(table)) + varint(len(content))
        tail = content + bytes([compression])
        table += tail + struct.pack("<I", masked_crc32c(tail))
        return handle

    for i in range(0, len(pairs), per_block):
        chunk = pairs[i : i + per_block]
        index.append((chunk[-1][0] + b"~", put(block(chunk))))
    footer = put(block([])) + put(block(index, restart_every=1))
    table += footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    prefix.with_name(prefix.name + ".index").write_bytes(table)
    prefix.with_name(prefix.name + ".data-00000-of-00001").write_bytes(data)


@pytest.fixture
def tensors():
    rng = np.random.default_rng(0)
    return {
        "layer_1/kernel": rng.normal(size=(3, 2, 5)).astype(np.float32),
        "layer_1/bias": rng.normal(size=5),
        "layer_2/kernel": rng.integers(0, 9, (200, 3)).astype(np.int32),
        "step": np.array(12345, np.int64),
        "empty": np.zeros((0, 4), np.float32),
    }


@pytest.mark.parametrize("per_block", [1, 3, 100])
def test_what_was_written_is_read(tmp_path, tensors, per_block):
    write_checkpoint(tmp_path / "run-7", tensors, per_block)
    for prefix in (tmp_path / "run-7", str(tmp_path / "run-7.index")):
        found = read_tf_checkpoint(prefix)
        assert found.keys() == tensors.keys()
        for name, array in tensors.items():
            assert torch.equal(found[name], torch.from_numpy(array))


def test_masked_crc32c():
    crc = 0xE3069283  # of b"123456789", RFC 3720
    assert masked_crc32c(b"123456789") == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def test_missing_files(tmp_path, tensors):
    with pytest.raises(FileNotFoundError, match=r"run\.index"):
        read_tf_checkpoint(tmp_path / "run")
    write_checkpoint(tmp_path / "run", tensors)
    (tmp_path / "run.data-00000-of-00001").unlink()
    with pytest.raises(FileNotFoundError, match="data-00000-of-00001"):
        read_tf_checkpoint(tmp_path / "run")


def test_truncated_data(tmp_path, tensors):
    write_checkpoint(tmp_path / "run", tensors)
    data = tmp_path / "run.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-5])
    with pytest.raises(ValueError, match="truncated"):
        read_tf_checkpoint(tmp_path / "run")


def test_altered_data(tmp_path, tensors):
    write_checkpoint(tmp_path / "run", tensors)
    data = tmp_path / "run.data-00000-of-00001"
    raw = bytearray(data.read_bytes())
    raw[50] ^= 1
    data.write_bytes(raw)
    with pytest.raises(ValueError, match="do not match their checksum"):
        read_tf_checkpoint(tmp_path / "run")


def test_any_damage_to_the_index_is_an_error(tmp_path, tensors):
    write_checkpoint(tmp_path / "run", tensors)
    index = tmp_path / "run.index"
    good = index.read_bytes()
    for size in range(0, len(good), 7):
        index.write_bytes(good[:size])
        with pytest.raises(ValueError, match=r"run\.index"):
            read_tf_checkpoint(tmp_path / "run")
    for place in range(0, len(good) - 48, 5):
        bad = bytearray(good)
        bad[place] ^= 0x55
        index.write_bytes(bad)
        # The metaindex block holds nothing that is used, so damage to it may pass; the tensors must be right.
        try:
            found = read_tf_checkpoint(tmp_path / "run")
        except ValueError:
            continue
        assert all(torch.equal(found[name], torch.from_numpy(array)) for name, array in tensors.items())


def test_compressed_and_foreign_files(tmp_path, tensors):
    write_checkpoint(tmp_path / "run", tensors, compression=1)
    with pytest.raises(ValueError, match="compressed"):
        read_tf_checkpoint(tmp_path / "run")
    (tmp_path / "run.index").write_bytes(b"version https://git-lfs.github.com/spec/v1\n" * 3)
    with pytest.raises(ValueError, match="not a TensorFlow V2 checkpoint"):
        read_tf_checkpoint(tmp_path / "run")


def test_an_unknown_dtype_is_named(tmp_path):
    write_checkpoint(tmp_path / "run", {"flag": np.array([True])})
    with pytest.raises(ValueError, match="flag has TensorFlow dtype 7"):
        read_tf_checkpoint(tmp_path / "run")
