"""GTSRB, German traffic signs (Stallkamp et al. 2012), from either of its two layouts; split by track."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torchvision.datasets import GTSRB

from blurnet.checks import check_folder, one_of
from blurnet.data.images import SPLITS, Box, ImageFiles, ImageTensors, Split
from blurnet.data.labels import GTSRB_CLASSES
from blurnet.data.sources._tables import check_files, read_table
from blurnet.data.sources.base import Source
from blurnet.data.tracks import split_by_track

COLUMNS = ("Filename", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2")
TestSet = Literal["official", "tracks"]


@dataclass(eq=False)
class Gtsrb(Source):
    """43 classes, decoded once into memory.

    Layouts: the full one, ``root/Final_Training/Images/000XX/GT-000XX.csv`` (39,209 images; ``root/GTSRB/...`` is
    fine too), and torchvision's, ``root/gtsrb/GTSRB/Training/...`` (26,640 images). A track is the 30 frames of
    one sign that share the file-name prefix ``TTTTT_``; train and val never share one. The official test set names no
    tracks: there each image is its own.

    Args:
        root: folder with ``Final_Training/`` or torchvision's ``gtsrb/``.
        split_seed: which split by track.
        test: "official" reads the official test set (train and val share the training set 90 / 10);
            "tracks" ignores it and takes 70 / 10 / 20 % of the training tracks.
        roi: cut to the annotated region of interest (full layout only); otherwise the whole image.
        download: let torchvision fetch its layout into ``root`` (never without asking).
    """

    root: str | Path
    split_seed: int = 0
    test: TestSet = "official"
    roi: bool = False
    download: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """The 43 names in the order of their ids."""
        return GTSRB_CLASSES

    def prepare_data(self) -> None:
        """Download, if asked to."""
        if self.download:
            GTSRB(self.root, split="train", download=True)
            GTSRB(self.root, split="test", download=True)

    def load(self, split: Split) -> ImageTensors:
        """Decode one split; its groups are the tracks.

        Raises:
            FileNotFoundError, NotADirectoryError: a folder, table or image is missing.
            ValueError: a column is missing, a class is unknown, ``roi`` with torchvision's layout, or a corrupt image.
        """
        one_of(split, SPLITS, "split")
        signs = _read(check_folder(self.root, "GTSRB"), split, self.test, self.split_seed)
        check_files([s.path for s in signs], Path(self.root))
        if self.roi and any(s.box is None for s in signs):
            raise ValueError(f"{self.root}: torchvision's layout is read without regions of interest; use roi=False")
        files = ImageFiles(
            [s.path for s in signs],
            [s.label for s in signs],
            GTSRB_CLASSES,
            self.image_size,
            boxes=[s.box for s in signs if s.box is not None] if self.roi else None,
            groups=[s.track for s in signs],
        )
        return files.load()


@dataclass(frozen=True)
class _Sign:
    path: Path
    label: int
    track: str
    box: Box | None = None


def _read(root: Path, split: Split, test: TestSet, seed: int) -> list[_Sign]:
    full = next((f for f in (root, root / "GTSRB") if (f / "Final_Training" / "Images").is_dir()), None)
    if full is None and not (root / "gtsrb" / "GTSRB").is_dir():
        raise FileNotFoundError(f"{root}: neither Final_Training/Images/ nor gtsrb/GTSRB/; see data/README.md")
    if split == "test" and test == "official":
        return list(_official_test(full)) if full else _torchvision(root, "test")
    signs = list(_training(full / "Final_Training" / "Images")) if full else _torchvision(root, "train")
    shares = (0.9, 0.1, 0.0) if test == "official" else (0.7, 0.1, 0.2)
    rows = split_by_track([s.track for s in signs], [s.label for s in signs], seed=seed, fractions=shares)
    return [signs[i] for i in rows[split]]


def _training(folder: Path) -> Iterator[_Sign]:
    tables = sorted(folder.glob("*/GT-*.csv"))
    if not tables:
        raise FileNotFoundError(f"{folder}: no 000XX/GT-000XX.csv")
    for table in tables:
        label = _label(table.parent.name, table)
        for row in read_table(table, COLUMNS, delimiter=";"):
            yield _Sign(table.parent / row["Filename"], label, _track(label, row["Filename"]), _box(row, table))


def _official_test(root: Path) -> Iterator[_Sign]:
    images = root / "Final_Test" / "Images"
    places = (root / "GT-final_test.csv", images / "GT-final_test.csv", root.parent / "GT-final_test.csv")
    table = next((path for path in places if path.is_file()), None)
    if table is None:
        raise FileNotFoundError(
            f'{root}: no GT-final_test.csv (the labels of the official test set); get it or use test="tracks"'
        )
    for row in read_table(table, (*COLUMNS, "ClassId"), delimiter=";"):
        yield _Sign(images / row["Filename"], _label(row["ClassId"], table), row["Filename"], _box(row, table))


def _torchvision(root: Path, split: str) -> list[_Sign]:
    try:
        samples = GTSRB(root, split=split)._samples
    except (RuntimeError, FileNotFoundError) as error:
        raise FileNotFoundError(f"{root}: torchvision finds no GTSRB {split} set in it: {error}") from error
    return [_Sign(Path(path), int(label), _track(int(label), Path(path).name)) for path, label in samples]


def _track(label: int, file: str) -> str:
    return f"{label:05d}/{file.split('_')[0]}"


def _label(text: str, where: Path) -> int:
    if not text.isdigit() or int(text) >= len(GTSRB_CLASSES):
        raise ValueError(f"{where}: unknown class {text!r}; GTSRB has 0 to {len(GTSRB_CLASSES) - 1}")
    return int(text)


def _box(row: dict[str, str], table: Path) -> Box:
    try:
        left, top, right, bottom = (int(row[name]) for name in COLUMNS[1:])
    except ValueError as error:
        raise ValueError(f"{table}: malformed region of interest of {row['Filename']}: {error}") from error
    return top, bottom + 1, left, right + 1  # the corners of a GTSRB region belong to it
