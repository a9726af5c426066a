"""TensorFlow V2 checkpoints (``NAME.index`` and ``NAME.data-00000-of-00001``) read without TensorFlow.

The index is a LevelDB-style sorted table: blocks of prefix-compressed keys, a footer of 48 bytes. Each value is a
``BundleEntryProto`` that says where in the data file a tensor lies. Source: tensorflow/core/lib/io/format.h,
tensorflow/core/protobuf/tensor_bundle.proto.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import torch
from torch import Tensor

MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
DTYPES = {1: torch.float32, 2: torch.float64, 3: torch.int32, 9: torch.int64}


@dataclass(frozen=True)
class Entry:
    """Where one tensor lies: TensorFlow dtype, shape, shard, byte offset and size, masked CRC32C."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int


def read_tf_checkpoint(prefix: str | Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint, by name, each checked against its CRC32C.

    Args:
        prefix: the path without ``.index`` (with it is fine too).

    Raises:
        FileNotFoundError: the index or a data file is missing.
        ValueError: a file is truncated, tampered with, compressed, or holds a dtype other than float and int.
    """
    text = str(prefix)
    base = text.removesuffix(".index")
    index = Path(base + ".index")
    if not index.is_file():
        raise FileNotFoundError(f"no such TensorFlow checkpoint index: {index}")
    try:
        shards, entries = _read_index(index.read_bytes())
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"{index}: truncated or damaged TensorFlow checkpoint index") from error
    except ValueError as error:
        raise ValueError(f"{index}: {error}") from error
    files: dict[int, bytes] = {}
    tensors = {}
    for name, entry in entries.items():
        path = Path(f"{base}.data-{entry.shard:05d}-of-{shards:05d}")
        if entry.shard not in files:
            if not path.is_file():
                raise FileNotFoundError(f"the checkpoint {index} lacks its data file {path}")
            files[entry.shard] = path.read_bytes()
        tensors[name] = _tensor(name, entry, files[entry.shard], path)
    return tensors


def masked_crc32c(data: bytes) -> int:
    """The CRC32C of bytes as TensorFlow and LevelDB store it: rotated right by 15 bits plus a constant."""
    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _tensor(name: str, entry: Entry, data: bytes, path: Path) -> Tensor:
    raw = data[entry.offset : entry.offset + entry.size]
    if entry.dtype not in DTYPES:
        raise ValueError(f"{path}: {name} has TensorFlow dtype {entry.dtype}; only {sorted(DTYPES)} are read")
    dtype = DTYPES[entry.dtype]
    expected = dtype.itemsize * torch.Size(entry.shape).numel()
    if len(raw) != entry.size or entry.size != expected:
        raise ValueError(f"{path}: truncated: {name} needs {expected} bytes at {entry.offset}, found {len(raw)}")
    if masked_crc32c(raw) != entry.crc:
        raise ValueError(f"{path}: the bytes of {name} do not match their checksum; the file was altered")
    if not raw:
        return torch.empty(entry.shape, dtype=dtype)
    return torch.frombuffer(bytearray(raw), dtype=dtype).view(entry.shape)


def _read_index(table: bytes) -> tuple[int, dict[str, Entry]]:
    """Number of shards and the entries of an index file."""
    if len(table) < FOOTER_BYTES or struct.unpack("<Q", table[-8:])[0] != MAGIC:
        raise ValueError("not a TensorFlow V2 checkpoint index, or truncated (its magic number is missing)")
    footer = table[-FOOTER_BYTES:]
    place = 0
    handle = []
    for _ in range(4):  # offset and size of the metaindex block, then of the index block
        number, place = _varint(footer, place)
        handle.append(number)
    shards, entries = 1, {}
    for _, pointer in _block(table, handle[2], handle[3]):
        offset, after = _varint(pointer, 0)
        size, _ = _varint(pointer, after)
        for key, value in _block(table, offset, size):
            if key:
                entries[key.decode()] = _entry(value)
            else:  # the header comes first, under the empty key
                header = dict(_fields(value))
                shards = _int(header.get(1, 1))
                if _int(header.get(2, 0)) != 0:
                    raise ValueError("big-endian checkpoints are not supported")
    return shards, entries


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of one block; its trailer holds a compression byte and a checksum."""
    if offset + size + 5 > len(table):
        raise ValueError("truncated: a block leaves the file")
    if table[offset + size] != 0:
        raise ValueError("compressed blocks are not supported; save the checkpoint again with TensorFlow")
    body = table[offset : offset + size]
    if masked_crc32c(table[offset : offset + size + 1]) != struct.unpack_from("<I", table, offset + size + 1)[0]:
        raise ValueError("a block does not match its checksum; the file was altered")
    restarts = struct.unpack("<I", body[-4:])[0]
    place, end, key = 0, size - 4 - 4 * restarts, b""
    while place < end:
        shared, place = _varint(body, place)
        own, place = _varint(body, place)
        length, place = _varint(body, place)
        key = key[:shared] + body[place : place + own]
        yield key, body[place + own : place + own + length]
        place += own + length


def _entry(message: bytes) -> Entry:
    fields = dict(_fields(message))
    shape = []
    for number, dim in _fields(_bytes(fields.get(2, b""))):
        if number == 2:  # TensorShapeProto.dim, whose field 1 is the size
            shape.append(_int(dict(_fields(_bytes(dim))).get(1, 0)))
    numbers = [_int(fields.get(n, 0)) for n in (1, 3, 4, 5, 6)]
    return Entry(numbers[0], tuple(shape), *numbers[1:])


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values of a protobuf message; nested messages stay bytes."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind = tag & 7
        value: int | bytes
        if kind == 0:
            value, place = _varint(message, place)
        elif kind == 2:
            length, place = _varint(message, place)
            value, place = message[place : place + length], place + length
        elif kind in (1, 5):
            width = 8 if kind == 1 else 4
            value, place = int.from_bytes(message[place : place + width], "little"), place + width
        else:
            raise ValueError(f"damaged protobuf message: wire type {kind}")
        yield tag >> 3, value


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def _int(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("damaged protobuf message: bytes where a number belongs")
    return value


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("damaged protobuf message: a number where bytes belong")
    return value
