"""Every guard raises before any work and shows what came."""

from pathlib import Path

import pytest
import torch

from blurnet.checks import (
    check_folder,
    check_images,
    check_labels,
    check_logits,
    check_mask,
    check_odd,
    check_writable,
)

IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def with_value(value: float) -> torch.Tensor:
    x = IMAGES.clone()
    x[1, 2, 3, 4] = value
    return x


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_good_images_pass(dtype):
    check_images(IMAGES.to(dtype), size=(8, 8))
    check_images(torch.zeros(1, 7, 2, 3, dtype=dtype), channels=None)
    check_images(torch.tensor([0.0, 1.0], dtype=dtype).view(1, 1, 1, 2), channels=1)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([[0.5]], TypeError, "got list"),
        ((IMAGES * 255).byte(), TypeError, "torch.uint8; divide"),
        (IMAGES[0], ValueError, r"got \(3, 8, 8\)"),
        (IMAGES[:, :1], ValueError, r"\(N, 3, H, W\), got \(2, 1, 8, 8\)"),
        (IMAGES[:0], ValueError, "empty"),
        (IMAGES[..., :7], ValueError, "expected 8x8 pixels, got 8x7"),
        (with_value(1.01), ValueError, r"1\.01"),
        (with_value(-0.01), ValueError, r"-0\.01"),
        (with_value(float("nan")), ValueError, "contains NaN"),
        (with_value(float("inf")), ValueError, "inf"),
        (with_value(float("-inf")), ValueError, "-inf"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_bad_images_raise(x, error, message):
    with pytest.raises(error, match=f"victims: .*{message}"):
        check_images(x, size=(8, 8), name="victims")


def test_images_with_a_gradient_are_checked_without_a_graph():
    check_images(IMAGES.clone().requires_grad_())


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (torch.tensor([0.0, 1.0]), TypeError, "float32"),
        (torch.tensor([True, False]), TypeError, "bool"),
        ([0, 1], TypeError, "list"),
        (torch.tensor([0, 1, 2]), ValueError, r"\(2,\), got \(3,\)"),
        (torch.tensor([[0], [1]]), ValueError, r"got \(2, 1\)"),
        (torch.tensor([0, -1]), ValueError, "got -1 to 0"),
        (torch.tensor([0, 5]), ValueError, "below 5, got 0 to 5"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_labels(y, error, message):
    check_labels(torch.tensor([0, 4]), n=2, classes=5)
    check_labels(torch.tensor([0, 4], dtype=torch.uint8), n=2)
    with pytest.raises(error, match=message):
        check_labels(y, n=2, classes=5)


@pytest.mark.parametrize(
    ("z", "error", "message"),
    [
        ((torch.zeros(2, 5),), TypeError, "tuple"),
        (torch.zeros(2, 5).long(), TypeError, "int64"),
        (torch.zeros(3, 5), ValueError, r"\(2, classes\), got \(3, 5\)"),
        (torch.zeros(2, 5, 1), ValueError, "got"),
        (torch.full((2, 5), torch.nan), ValueError, "NaN"),
        (torch.full((2, 5), torch.inf), ValueError, "infinite"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_logits(z, error, message):
    check_logits(torch.zeros(2, 5), n=2)
    with pytest.raises(error, match=message):
        check_logits(z, n=2)


def test_odd():
    for k in (1, 3, 31):
        check_odd(k)
    for k in (0, 2, -3, 3.0, True, "3"):
        with pytest.raises(ValueError, match="window: expected a positive odd integer, got"):
            check_odd(k, "window")


def test_mask():
    ones = torch.ones(8, 8)
    for mask in (ones, ones.bool(), ones.long(), ones[None], ones[None, None], ones.expand(2, 1, 8, 8)):
        check_mask(mask, IMAGES)
    for mask, message in (
        (torch.ones(8, 9), r"got \(8, 9\)"),
        (torch.ones(3, 1, 8, 8), r"got \(3, 1, 8, 8\)"),
        (torch.ones(2, 3, 8, 8), r"got \(2, 3, 8, 8\)"),
        (ones * 0.5, "zeros and ones"),
        (ones * torch.nan, "zeros and ones"),
        (ones * 0, "no pixel is set"),
        (ones.bool() & False, "no pixel is set"),
    ):
        with pytest.raises(ValueError, match=message):
            check_mask(mask, IMAGES)
    with pytest.raises(TypeError, match="got list"):
        check_mask([[1]], IMAGES)


def test_folder(tmp_path):
    assert check_folder(str(tmp_path), "victims") == tmp_path
    with pytest.raises(FileNotFoundError, match="victims: no such folder"):
        check_folder(tmp_path / "none", "victims")
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(NotADirectoryError, match="victims: not a folder"):
        check_folder(file, "victims")


def test_writable(tmp_path, monkeypatch):
    folder = check_writable(tmp_path / "a" / "b")
    assert isinstance(folder, Path)
    assert folder.is_dir()
    assert check_writable(str(folder)) == folder
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "under"):
        with pytest.raises(NotADirectoryError, match="report: a file is in the way"):
            check_writable(path, "report")
    # Permission bits do not bind root, who runs many containers.
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(PermissionError, match="report: cannot write into"):
        check_writable(folder, "report")


def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(PermissionError, match=r"cannot create .*: Permission denied"):
        check_writable(tmp_path / "new")
