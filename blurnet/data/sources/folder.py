"""Any images: one subfolder a class (ImageNet's layout), or one folder and a labels CSV."""

from abc import abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from blurnet.bounds import Count
from blurnet.checks import check_folder, one_of
from blurnet.data.images import SPLITS, Fit, ImageFiles, Items
from blurnet.data.sources._tables import check_files, read_table
from blurnet.data.sources.base import Source
from blurnet.data.tracks import split_by_track

Part = Literal["train", "val", "test", "all"]
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".pgm"})


@dataclass(eq=False)
class Photos(Source):
    """Images of any kind and size, listed when a split is loaded and read when they are asked for.

    Args:
        fit: "crop" (shorter side to image_size / 0.875, then the centre; photos) or "stretch" (signs).
        split_seed: which split, where the files do not say it.
        in_memory: decode each split once; otherwise files are read batch by batch (see ``num_workers``).
    """

    image_size: Count = field(default=224, kw_only=True)
    fit: Fit = field(default="crop", kw_only=True)
    root: str | Path
    split_seed: int = field(default=0, kw_only=True)
    in_memory: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.classes  # a folder without images is found now

    def load(self, split: Part) -> Items:
        """List one split, or decode it into memory.

        Raises:
            ValueError: another split than train, val, test, or "all" of them; else as the class.
        """
        one_of(split, Part, "split")
        files = self.files(split)
        return files.load() if self.in_memory else files

    @abstractmethod
    def files(self, split: Part) -> ImageFiles:
        """The files of one split."""


@dataclass(eq=False)
class FolderImages(Photos):
    """``root/<split>/<class>/*`` where ``root/train`` exists, else ``root/<class>/*`` split by file.

    Classes are the sorted subfolder names. With ``train/`` and ``val/`` but no ``test/`` (ImageNet), test is val.
    Without them, each class is split 70 / 10 / 20 % by a hash of (split_seed, file): only right where no two files are
    near-duplicates.

    Args:
        root: the folder.

    Raises:
        FileNotFoundError, NotADirectoryError: a folder is missing.
        ValueError: no images, a class folder without images, or splits with different classes.
    """

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the subfolders, sorted."""
        return folder_classes(check_folder(self.root, "image folder"))

    def files(self, split: Part) -> ImageFiles:
        """The files of one split."""
        base = check_folder(self.root, "image folder")
        paths: list[Path] = []
        labels: list[int] = []
        for folder in _parts(base, split):
            for label, name in enumerate(self.classes):
                found = sorted(p for p in (folder / name).rglob("*") if p.suffix.lower() in SUFFIXES)
                if not found:
                    raise ValueError(f"{folder / name}: no images ({', '.join(sorted(SUFFIXES))})")
                paths += found
                labels += [label] * len(found)
        if split != "all" and not (base / "train").is_dir():
            names = [path.relative_to(base).as_posix() for path in paths]
            kept = split_by_track(names, labels, seed=self.split_seed)[split]
            paths, labels = [paths[i] for i in kept], [labels[i] for i in kept]
        return ImageFiles(paths, labels, self.classes, self.image_size, self.fit)


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


@dataclass(eq=False)
class CsvImages(Photos):
    """Images listed in a CSV file with a header.

    Labels are class numbers from 0, or names, which are then numbered in sorted order. File names are relative to
    ``root``, or to its ``images/`` where the first is found there.

    Args:
        root: folder of the table and the images.
        csv: the table, relative to ``root``.
        image_column: column of the file names.
        label_column: column of the labels.
        track_column: rows with the same value stay in one split and are one group (None: each row is on its own).
        num_classes: number of classes, where the labels are numbers and the largest may be absent.
        whole: every split is the whole table (to evaluate a net that was trained elsewhere).

    Raises:
        FileNotFoundError, NotADirectoryError: the folder, the table or an image is missing.
        ValueError: a column is missing, the table is empty, or a label is out of range.
    """

    csv: str = "labels.csv"
    image_column: str = "file"
    label_column: str = "label"
    track_column: str | None = None
    num_classes: int | None = None
    whole: bool = False

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names, or numbers as text, in output order."""
        return self._numbered(self._rows())[0]

    def files(self, split: Part) -> ImageFiles:
        """The files of one split."""
        table, rows = self._table(), self._rows()
        folder = table.parent / "images"
        if not (folder / rows[0][self.image_column]).is_file():
            folder = Path(self.root)
        paths = [folder / row[self.image_column] for row in rows]
        labels = self._numbered(rows)[1]
        check_files(paths, table)
        tracks = [row[self.track_column or self.image_column] for row in rows]
        kept = list(range(len(rows)))
        if split != "all" and not self.whole:
            kept = split_by_track(tracks, labels, seed=self.split_seed)[split]
        groups = [tracks[i] for i in kept] if self.track_column else None
        chosen = [paths[i] for i in kept], [labels[i] for i in kept]
        return ImageFiles(*chosen, self.classes, self.image_size, self.fit, groups=groups)

    def _table(self) -> Path:
        return check_folder(self.root, "images with a CSV") / self.csv

    def _rows(self) -> list[dict[str, str]]:
        columns = [self.image_column, self.label_column, *filter(None, [self.track_column])]
        return read_table(self._table(), columns)

    def _numbered(self, rows: list[dict[str, str]]) -> tuple[tuple[str, ...], list[int]]:
        return _numbered([row[self.label_column] for row in rows], self.num_classes, self._table())


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
