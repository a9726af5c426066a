"""GTSRB, German traffic signs (Stallkamp et al. 2012), from either of its two layouts; split by track."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torchvision.datasets import GTSRB

from blurnet.checks import check_folder
from blurnet.data.images import Box, ImageFiles, ImageTensors, Split, check_split
from blurnet.data.labels import GTSRB_CLASSES
from blurnet.data.tables import check_files, read_table
from blurnet.data.tracks import split_by_track

COLUMNS = ("Filename", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2")
TestSet = Literal["official", "tracks"]


class Gtsrb(ImageTensors):
    """43 classes, decoded once into memory.

    Layouts: the full one, ``root/Final_Training/Images/000XX/GT-000XX.csv`` (39,209 images; ``root/GTSRB/...`` is
    fine too), and torchvision's, ``root/gtsrb/GTSRB/Training/...`` (26,640 images). A track is the 30 frames of
    one sign that share the file-name prefix ``TTTTT_``; train and val never share one.

    Args:
        root: the folder.
        split: "train", "val" or "test".
        image_size: side in pixels.
        seed: which split by track.
        test: "official" reads the official test set (train and val share the training set 90 / 10);
            "tracks" ignores it and takes 70 / 10 / 20 % of the training tracks.
        roi: cut to the annotated region of interest (full layout only); otherwise the whole image.
        download: let torchvision fetch its layout into ``root`` (never without asking).

    Raises:
        FileNotFoundError, NotADirectoryError: a folder, table or image is missing.
        ValueError: a column is missing, a class is unknown, ``roi`` with torchvision's layout, or a corrupt image.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        image_size: int = 32,
        seed: int = 0,
        test: TestSet = "official",
        roi: bool = False,
        download: bool = False,
    ) -> None:
        check_split(split)
        if test not in ("official", "tracks"):
            raise ValueError(f'test must be "official" or "tracks", got {test!r}')
        if download:
            GTSRB(root, split="train", download=True)
            GTSRB(root, split="test", download=True)
        signs = _read(check_folder(root, "GTSRB"), split, test, seed)
        check_files([s.path for s in signs], Path(root))
        if roi and any(s.box is None for s in signs):
            raise ValueError(f"{root}: torchvision's layout is read without regions of interest; use roi=False")
        boxes = [s.box for s in signs if s.box is not None] if roi else None
        files = ImageFiles([s.path for s in signs], [s.label for s in signs], GTSRB_CLASSES, image_size, boxes=boxes)
        loaded = files.load()
        super().__init__(loaded.images, loaded.labels, GTSRB_CLASSES)
        self.tracks = tuple(s.track for s in signs)


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
