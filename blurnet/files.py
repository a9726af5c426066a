"""Weights in files: safetensors only, strict, hashed, written whole or not at all."""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)

_PICKLE_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle", ".tar")
# A zip (torch.save since 1.6), and pickle protocols 2 to 5; a safetensors file starts with the length of its header.
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


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
    tensors = read_safetensors(path, sha256)
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
        raise ValueError(f"{path} does not fit {type(net).__name__}: {shown}")
    net.load_state_dict(tensors, strict=True)
    return net


def read_safetensors(path: str | os.PathLike[str], sha256: str | None = None) -> dict[str, Tensor]:
    """The tensors of a safetensors file given by a user, on the CPU; errors as in :func:`load_weights`."""
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"no such weights file: {file}")
    with file.open("rb") as stream:
        start = stream.read(4)
    if file.suffix.lower() in _PICKLE_SUFFIXES or start.startswith(_PICKLE_STARTS):
        raise ValueError(
            f"{file} looks like a pickle, which can run code when it is loaded, so it is refused. If you trust where "
            f"it comes from, convert it once: safetensors.torch.save_file(torch.load({file.name!r}, "
            "weights_only=True), 'model.safetensors') (a Lightning checkpoint holds its weights under 'state_dict')"
        )
    data = file.read_bytes()
    # Hash and tensors come from the same bytes: the file cannot change in between.
    if sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != sha256.lower():
        raise ValueError(f"{file}: damaged or tampered with: its SHA-256 is {found}, expected {sha256}")
    try:
        tensors = safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{file} is not a whole safetensors file ({error}); fetch it again") from error
    _check_finite(tensors, str(file))
    return tensors


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file whole or not at all: into a temporary file beside it, then rename.

    Raises:
        OSError: the folder is missing or cannot be written; what was at ``path`` is still there.
    """
    content = data.encode() if isinstance(data, str) else data
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)  # mkstemp's 0600 would hide a shared model from others
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _check_finite(tensors: dict[str, Tensor], what: str) -> None:
    bad = [k for k, v in tensors.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())]
    if bad:
        raise ValueError(f"{what}: NaN or infinite values in {bad}")


def _kind(tensor: Tensor) -> str:
    kind = "float" if tensor.is_floating_point() else str(tensor.dtype).removeprefix("torch.")
    return f"{kind}{list(tensor.shape)}"
