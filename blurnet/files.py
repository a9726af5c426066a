"""Files: written whole or not at all, read strictly, told apart by what they hold; weights as safetensors only."""

import hashlib
import json
import os
import pickletools
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from blurnet.strict import parse_json

Net = TypeVar("Net", bound=nn.Module)

_PICKLE_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle", ".tar", ".gz", ".npy", ".npz")
# A zip (torch.save since 1.6, .npz) and gzip (a compressed pickle as a rule).
_ARCHIVE_STARTS = (b"PK\x03\x04", b"\x1f\x8b")
_OPCODES = frozenset(opcode.code for opcode in pickletools.opcodes)
_CONVERT = (
    "If you trust where it comes from, convert it once: safetensors.torch.save_file(torch.load({name!r}, "
    "weights_only=True), 'model.safetensors') (a Lightning checkpoint holds its weights under 'state_dict')"
)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary stream whose content becomes the file at ``path`` when the block ends without an error.

    What is written goes into a temporary file beside it, which is flushed to the disk and then renamed. After an error
    nothing is left, and what was at ``path`` is still there.

    Raises:
        OSError: the folder is missing or cannot be written.
    """
    place = Path(path)
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)  # mkstemp's 0600 would hide a shared model from others
        Path(name).replace(place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_atomic(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write a file whole or not at all, text in UTF-8; OSError as :func:`replacing`."""
    with replacing(path) as stream:
        stream.write(data.encode() if isinstance(data, str) else data)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a value as indented JSON, whole or not at all.

    Raises:
        ValueError, TypeError: NaN, infinities and objects, which JSON has not. OSError: as :func:`replacing`.
    """
    write_atomic(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_json_lines(path: str | os.PathLike[str], rows: Iterable[Any]) -> None:
    """Write one line of JSON a row, each as it comes, whole or not at all; errors as :func:`write_json`."""
    with replacing(path) as stream:
        for row in rows:
            stream.write((json.dumps(row, allow_nan=False) + "\n").encode())


def read_json(path: str | os.PathLike[str], what: str = "file") -> Any:
    """The value of a JSON file.

    Args:
        path: the file, in UTF-8.
        what: how messages call it: "report".

    Raises:
        FileNotFoundError: no such file. ValueError: not JSON, or what JSON has not: NaN, infinities, repeated keys.
    """
    file = _existing(path, what)
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: not JSON ({error})") from error
    return parse_json(text, str(file))


def save_weights(net: nn.Module, path: str | os.PathLike[str]) -> str:
    """Write a net's state dict as safetensors, atomically, and return the SHA-256 of the file in hex.

    Raises:
        ValueError: another suffix than .safetensors, NaN or infinite weights (names them), or nothing to save.
    """
    file = Path(path)
    if file.suffix != ".safetensors":
        raise ValueError(f"weights file: expected the suffix .safetensors, got {file.name!r}")
    # Clones: tied weights share memory, which safetensors refuses.
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in net.state_dict().items()}
    if not tensors:
        raise ValueError(f"{type(net).__name__} has no weights to save")
    _check_finite(tensors, f"weights of {type(net).__name__}")
    data = safetensors.torch.save(tensors)
    write_atomic(file, data)
    return hashlib.sha256(data).hexdigest()


def load_weights(net: Net, path: str | os.PathLike[str], sha256: str | None = None) -> Net:
    """Load a safetensors file into a net, in place: every key, every shape, or an error and an untouched net.

    Args:
        net: receives the weights, cast to its own dtype and device.
        path: a .safetensors file.
        sha256: expected hash of the file in hex; None checks none.

    Returns:
        ``net`` itself.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another hash, a pickle, a damaged file, NaN or infinite weights, or keys, shapes or kinds of
            numbers that differ (lists them).
    """
    return fill(net, read_safetensors(path, sha256), f"{path} does not fit {type(net).__name__}")


def fill(net: Net, tensors: dict[str, Tensor], complaint: str) -> Net:
    """Put tensors into a net as :func:`load_weights` does; where they do not fit, ``complaint`` begins the message."""
    own = net.state_dict()
    differences = [f"missing {key}" for key in own if key not in tensors]
    differences += [f"unexpected {key}" for key in sorted(set(tensors) - set(own))]
    differences += [
        f"{key}: the file has {_kind(tensors[key])}, the net {_kind(own[key])}"
        for key in own
        if key in tensors and _kind(tensors[key]) != _kind(own[key])
    ]
    if differences:
        shown = "; ".join(differences[:12]) + (f"; and {len(differences) - 12} more" * (len(differences) > 12))
        raise ValueError(f"{complaint}: {shown}")
    net.load_state_dict(tensors, strict=True)
    return net


def read_safetensors(path: str | os.PathLike[str], sha256: str | None = None) -> dict[str, Tensor]:
    """The finite tensors of a safetensors file given by a user, on the CPU; errors as in :func:`load_weights`."""
    tensors, _ = _read(_existing(path, "weights file"), sha256, _CONVERT.format(name=Path(path).name))
    _check_finite(tensors, str(path))
    return tensors


def read_tensors(
    path: str | os.PathLike[str], what: str = "tensor file", cure: str | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, of any value, and metadata of a safetensors file, on the CPU.

    Args:
        path: the file.
        what: how a message calls it where it is missing: "patch file".
        cure: what to do about a pickle; None says how to convert one.

    Raises:
        FileNotFoundError: no such file. ValueError: a pickle, or not a whole safetensors file.
    """
    return _read(_existing(path, what), None, cure or _CONVERT.format(name=Path(path).name))


def refuse_pickle(path: str | os.PathLike[str], cure: str, what: str = "file") -> None:
    """Raise ValueError for a pickle, which can run code when it is loaded; the message ends with ``cure``.

    A file is what it holds: a safetensors file passes under any name, even where the length of its header reads as
    the first bytes of a pickle. Other files are pickles by their suffix, their first bytes, or as archives of one.

    Args:
        path: the file.
        cure: what to do instead, the end of the message.
        what: how a message calls it where it is missing: "patch file".

    Raises:
        FileNotFoundError: no such file. ValueError: a pickle.
    """
    file = _existing(path, what)
    with file.open("rb") as stream:
        start = stream.read(9)
    _refuse_pickle(file, start, file.stat().st_size, cure)


def _existing(path: str | os.PathLike[str], what: str) -> Path:
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"no such {what}: {file}")
    return file


def _read(file: Path, sha256: str | None, cure: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    data = file.read_bytes()
    _refuse_pickle(file, data[:9], len(data), cure)
    # Hash and tensors come from the same bytes: the file cannot change in between.
    if sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != sha256.lower():
        raise ValueError(f"{file}: damaged or tampered with: its SHA-256 is {found}, expected {sha256}")
    try:
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{file} is not a whole safetensors file ({error}); fetch it again") from error
    return tensors, header.get("__metadata__", {})


def _refuse_pickle(file: Path, start: bytes, size: int, cure: str) -> None:
    """``start``: the first 9 bytes of the file, or all of a shorter one."""
    if _is_safetensors(start, size):
        return
    if file.suffix.lower() in _PICKLE_SUFFIXES or start.startswith(_ARCHIVE_STARTS) or _is_pickle(start):
        raise ValueError(f"{file} looks like a pickle, which can run code when it is loaded, so it is refused. {cure}")


def _is_safetensors(start: bytes, size: int) -> bool:
    """The length of a header that the file can hold, 8 bytes, low ones first; then the header, a JSON object."""
    return start[8:9] == b"{" and 8 + int.from_bytes(start[:8], "little") <= size


def _is_pickle(start: bytes) -> bool:
    """The mark of protocols 2 to 5, then an opcode; not the length of a safetensors header that was cut off."""
    marked = start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    return marked and start[2:3].decode("latin1") in _OPCODES and any(start[3:8])


def _check_finite(tensors: dict[str, Tensor], what: str) -> None:
    bad = [k for k, v in tensors.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())]
    if bad:
        raise ValueError(f"{what}: NaN or infinite values in {bad}")


def _kind(tensor: Tensor) -> str:
    kind = "float" if tensor.is_floating_point() else str(tensor.dtype).removeprefix("torch.")
    return f"{kind}{list(tensor.shape)}"
