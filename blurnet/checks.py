"""Guards at the public borders: each raises before any work and shows what came."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar, get_args

import torch
from torch import Tensor

T = TypeVar("T")


def one_of(value: T, allowed: Iterable[object] | object, what: str) -> T:
    """Require one of a few values and return it.

    Args:
        value: what came.
        allowed: a ``Literal[...]``, or the values themselves (of a table, its names).
        what: how the message calls it: "PGD loss".

    Raises:
        ValueError: another one; the message lists what exists.
    """
    values = list(get_args(allowed) or allowed)  # type: ignore[call-overload]
    if value not in values:
        raise ValueError(f"{what}: expected one of {values}, got {value!r}")
    return value


def check_images(
    x: Tensor,
    *,
    channels: int | None = 3,
    size: tuple[int, int] | None = None,
    name: str = "images",
) -> None:
    """Require float images (N, channels, H, W), finite and in [0, 1].

    Args:
        x: the candidate images.
        channels: expected channels; None accepts any number.
        size: expected (H, W) in pixels; None accepts any size.
        name: how the message calls ``x``.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: wrong shape, empty, NaN or infinite values, or values outside [0, 1].
    """
    check_form(x, channels=channels, size=size, name=name)
    check_range(x, name=name)


def check_form(
    x: Tensor, *, channels: int | None = 3, size: tuple[int, int] | None = None, name: str = "images"
) -> None:
    """The part of :func:`check_images` that reads no pixel, for those who check the values block by block."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(x).__name__}")
    if not x.is_floating_point():
        raise TypeError(f"{name}: expected a float tensor in [0, 1], got {x.dtype}; divide uint8 images by 255")
    if x.ndim != 4 or (channels is not None and x.shape[1] != channels):
        wanted = "C" if channels is None else channels
        raise ValueError(f"{name}: expected shape (N, {wanted}, H, W), got {tuple(x.shape)}")
    if x.numel() == 0:
        raise ValueError(f"{name}: empty, shape {tuple(x.shape)}")
    if size is not None and tuple(x.shape[-2:]) != tuple(size):
        raise ValueError(f"{name}: expected {size[0]}x{size[1]} pixels, got {x.shape[-2]}x{x.shape[-1]}")


def check_range(x: Tensor, *, name: str = "images") -> None:
    """The rest of :func:`check_images`: every value finite and in [0, 1]; ValueError."""
    # NaN fails every comparison, so it is caught by the same test.
    low, high = torch.stack(torch.aminmax(x.detach())).tolist()
    if not (low >= 0.0 and high <= 1.0):
        if low != low or high != high:
            raise ValueError(f"{name}: contains NaN")
        raise ValueError(
            f"{name}: expected pixels in [0, 1], got [{low:g}, {high:g}]; "
            "do not normalise images before the model (Normalize is its first layer)"
        )


def check_labels(y: Tensor, *, n: int, classes: int | None = None, name: str = "labels") -> None:
    """Require integer labels of shape (n,), each in [0, classes).

    Raises:
        TypeError: not an integer tensor.
        ValueError: wrong shape or a label out of range.
    """
    if not isinstance(y, Tensor) or y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise TypeError(f"{name}: expected an integer tensor, got {getattr(y, 'dtype', type(y).__name__)}")
    if tuple(y.shape) != (n,):
        raise ValueError(f"{name}: expected shape ({n},), got {tuple(y.shape)}")
    if n and (int(y.min()) < 0 or (classes is not None and int(y.max()) >= classes)):
        limit = "" if classes is None else f" and below {classes}"
        raise ValueError(f"{name}: expected values from 0{limit}, got {int(y.min())} to {int(y.max())}")


def check_logits(z: Tensor, *, n: int, name: str = "logits") -> None:
    """Require finite logits of shape (n, classes).

    Raises:
        TypeError: the model gave something else than a float tensor.
        ValueError: wrong shape, or NaN or infinite values.
    """
    if not isinstance(z, Tensor) or not z.is_floating_point():
        hint = "; wrap the model to return its .logits" if hasattr(z, "logits") else ""
        got = getattr(z, "dtype", type(z).__name__)
        raise TypeError(f"{name}: the model must return a float tensor, got {got}{hint}")
    if z.ndim != 2 or z.shape[0] != n:
        raise ValueError(f"{name}: expected shape ({n}, classes), got {tuple(z.shape)}")
    if not bool(torch.isfinite(z.detach()).all()):
        raise ValueError(f"{name}: the model returned NaN or infinite values")


def check_odd(k: int, name: str = "kernel_size") -> None:
    """Require a positive odd integer.

    Raises:
        ValueError: even, non-positive or not an integer.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1 or k % 2 == 0:
        raise ValueError(f"{name}: expected a positive odd integer, got {k!r}")


def check_mask(mask: Tensor, x: Tensor, name: str = "mask") -> None:
    """Require a mask of zeros and ones that broadcasts over images ``x`` (N, C, H, W).

    Accepted shapes: (H, W), (1, H, W), (1, 1, H, W) and (N, 1, H, W).

    Raises:
        TypeError: not a tensor.
        ValueError: other shape, values besides 0 and 1, or no pixel set.
    """
    if not isinstance(mask, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(mask).__name__}")
    n, _, h, w = x.shape
    allowed = {(h, w), (1, h, w), (1, 1, h, w), (n, 1, h, w)}
    if tuple(mask.shape) not in allowed:
        raise ValueError(f"{name}: expected one of {sorted(allowed, key=len)}, got {tuple(mask.shape)}")
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError(f"{name}: expected zeros and ones, got values from {mask.min():g} to {mask.max():g}")
    if not bool(mask.any()):
        raise ValueError(f"{name}: no pixel is set, so the attack could write nowhere")


def check_folder(path: str | os.PathLike[str], what: str) -> Path:
    """Require an existing folder and return it.

    Raises:
        FileNotFoundError: no such folder.
        NotADirectoryError: the path is a file.
    """
    folder = Path(path)
    if not folder.exists():
        raise FileNotFoundError(f"{what}: no such folder: {folder}")
    if not folder.is_dir():
        raise NotADirectoryError(f"{what}: not a folder: {folder}")
    return folder


def check_writable(path: str | os.PathLike[str], what: str = "output folder") -> Path:
    """Create a folder where it is missing, require that files can be made in it, and return it.

    Raises:
        NotADirectoryError: the path, or a part of it, is a file.
        PermissionError: it cannot be created or written.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(f"{what}: a file is in the way of the folder {folder}") from error
    except OSError as error:
        raise PermissionError(f"{what}: cannot create {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{what}: cannot write into {folder}")
    return folder
