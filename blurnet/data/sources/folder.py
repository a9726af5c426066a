"""Any images: one subfolder a class (ImageNet's layout), or one folder and a labels CSV."""

from pathlib import Path
from typing import Literal

from blurnet.checks import check_folder
from blurnet.data.images import SPLITS, Fit, ImageFiles
from blurnet.data.tables import check_files, read_table
from blurnet.data.tracks import split_by_track

Part = Literal["train", "val", "test", "all"]
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".pgm"})


class FolderImages(ImageFiles):
    """``root/<split>/<class>/*`` where ``root/train`` exists, else ``root/<class>/*`` split by file.

    Files are read when asked for; ``load()`` puts them into memory. Classes are the sorted subfolder names. With
    ``train/`` and ``val/`` but no ``test/`` (ImageNet), test is val. Without them, each class is split 70 / 10 / 20 %
    by a hash of (seed, file): only right where no two files are near-duplicates.

    Args:
        root: the folder.
        split: "train", "val", "test", or "all" of them.
        image_size: side in pixels.
        fit: "crop" (shorter side to image_size / 0.875, then the centre) or "stretch".
        seed: which split by file.

    Raises:
        FileNotFoundError, NotADirectoryError: a folder is missing.
        ValueError: no images, a class folder without images, or splits with different classes.
    """

    def __init__(
        self, root: str | Path, split: Part = "train", image_size: int = 224, fit: Fit = "crop", seed: int = 0
    ) -> None:
        _check_part(split)
        base = check_folder(root, "image folder")
        classes = folder_classes(base)
        paths: list[Path] = []
        labels: list[int] = []
        for folder in _parts(base, split):
            for label, name in enumerate(classes):
                found = sorted(p for p in (folder / name).rglob("*") if p.suffix.lower() in SUFFIXES)
                if not found:
                    raise ValueError(f"{folder / name}: no images ({', '.join(sorted(SUFFIXES))})")
                paths += found
                labels += [label] * len(found)
        if split != "all" and not (base / "train").is_dir():
            names = [path.relative_to(base).as_posix() for path in paths]
            kept = split_by_track(names, labels, seed=seed)[split]
            paths, labels = [paths[i] for i in kept], [labels[i] for i in kept]
        super().__init__(paths, labels, classes, image_size, fit)


def folder_classes(root: Path) -> tuple[str, ...]:
    """Class names of an image folder: its sorted subfolders, or those of its ``train/``.

    Raises:
        ValueError: no subfolders, or splits that disagree.
    """
    parts = _parts(root, "all")
    found = {part: tuple(sorted(p.name for p in part.iterdir() if p.is_dir())) for part in parts}
    classes = found[parts[0]]
    if not classes:
        raise ValueError(f"{parts[0]}: empty; expected one subfolder a class")
    for part, names in found.items():
        if names != classes:
            raise ValueError(f"{part} and {parts[0]} differ in classes: {sorted(set(names) ^ set(classes))}")
    return classes


def _parts(root: Path, split: Part) -> list[Path]:
    if not (root / "train").is_dir():
        return [root]
    check_folder(root / "val", "image folder with train/")
    if split == "all":
        return [root / name for name in SPLITS if (root / name).is_dir()]
    if split == "test" and not (root / "test").is_dir():
        return [root / "val"]
    return [root / split]


class CsvImages(ImageFiles):
    """Images listed in a CSV file with a header; files are read when asked for.

    Labels are class numbers from 0, or names, which are then numbered in sorted order.

    Args:
        root: the folder file names are relative to, unless the first is found in its ``images/`` subfolder.
        csv: the table, relative to ``root``.
        image_column: column of the file names.
        label_column: column of the labels.
        split: "train", "val", "test", or "all" of them.
        track_column: rows with the same value stay in one split (None: each row is on its own).
        num_classes: number of classes, where the labels are numbers and the largest may be absent.
        image_size: side in pixels.
        fit: "crop" (shorter side to image_size / 0.875, then the centre) or "stretch".
        seed: which split.

    Raises:
        FileNotFoundError, NotADirectoryError: the folder, the table or an image is missing.
        ValueError: a column is missing, the table is empty, or a label is out of range.
    """

    def __init__(
        self,
        root: str | Path,
        csv: str = "labels.csv",
        image_column: str = "file",
        label_column: str = "label",
        split: Part = "train",
        track_column: str | None = None,
        num_classes: int | None = None,
        image_size: int = 224,
        fit: Fit = "crop",
        seed: int = 0,
    ) -> None:
        _check_part(split)
        base = check_folder(root, "images with a CSV")
        columns = [image_column, label_column, *([track_column] if track_column else [])]
        rows = read_table(base / csv, columns)
        folder = base / "images" if (base / "images" / rows[0][image_column]).is_file() else base
        paths = [folder / row[image_column] for row in rows]
        classes, labels = _numbered([row[label_column] for row in rows], num_classes, base / csv)
        check_files(paths, base / csv)
        kept = list(range(len(rows)))
        if split != "all":
            tracks = [row[track_column or image_column] for row in rows]
            kept = split_by_track(tracks, labels, seed=seed)[split]
        super().__init__([paths[i] for i in kept], [labels[i] for i in kept], classes, image_size, fit)


def csv_classes(root: Path, csv: str, label_column: str, num_classes: int | None) -> tuple[str, ...]:
    """Class names of a labels table, in output order; raises as :class:`CsvImages` does."""
    table = check_folder(root, "images with a CSV") / csv
    rows = read_table(table, [label_column])
    return _numbered([row[label_column] for row in rows], num_classes, table)[0]


def _numbered(values: list[str], num_classes: int | None, table: Path) -> tuple[tuple[str, ...], list[int]]:
    if all(value.isdigit() for value in values):
        labels = [int(value) for value in values]
        count = num_classes or max(labels) + 1
        if max(labels) >= count:
            raise ValueError(f"{table}: label {max(labels)} with num_classes={count}")
        return tuple(str(i) for i in range(count)), labels
    classes = tuple(sorted(set(values)))
    if num_classes is not None and len(classes) != num_classes:
        raise ValueError(f"{table}: {len(classes)} class names {list(classes)[:5]}..., but num_classes={num_classes}")
    index = {name: i for i, name in enumerate(classes)}
    return classes, [index[value] for value in values]


def _check_part(split: str) -> None:
    if split not in (*SPLITS, "all"):
        raise ValueError(f"split must be one of {(*SPLITS, 'all')}, got {split!r}")
