"""LISA traffic signs (Mogelmose et al. 2012): the official frames, or a folder of crops; split by track."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from blurnet.checks import check_folder, one_of
from blurnet.data.images import SPLITS, Box, ImageFiles, ImageTensors, Split
from blurnet.data.labels import LISA_CLASSES, Outputs, label_names
from blurnet.data.sources._tables import check_files, read_table
from blurnet.data.sources.base import Source
from blurnet.data.tracks import split_by_track

CROP_COLUMNS = ("file", "class", "track")


@dataclass(eq=False)
class Lisa(Source):
    """The 17 classes from either layout, split by track: 70 / 10 / 20 % of each class's tracks.

    Args:
        outputs: 18 for labels counted from 1 (stop = 14, the RP2 authors' net), 17 for labels from 0.
        split_seed: which split by track.
    """

    root: str | Path
    outputs: Outputs = 18
    split_seed: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in output order, see :func:`label_names`."""
        return label_names(self.outputs)


@dataclass(eq=False)
class LisaCrops(Lisa):
    """Crops of the 17 classes: ``root/crops/*`` and ``root/annotations.csv`` (file, class, track, ...).

    Decoded once into memory, gray repeated to RGB, resized to squares by antialiased bilinear interpolation.

    Args:
        root: folder with ``crops/`` and ``annotations.csv``.
    """

    def load(self, split: Split) -> ImageTensors:
        """Decode one split; its groups are the tracks.

        Raises:
            FileNotFoundError, NotADirectoryError: the folder, the table or an image is missing.
            ValueError: a column is missing, a class is unknown, or an image is corrupt.
        """
        one_of(split, SPLITS, "split")
        folder = check_folder(self.root, "LISA crops")
        table = folder / "annotations.csv"
        rows = read_table(table, CROP_COLUMNS)
        _check_classes([row["class"] for row in rows], table)
        paths = [folder / "crops" / row["file"] for row in rows]
        check_files(paths, table)
        kept = split_by_track([r["track"] for r in rows], [r["class"] for r in rows], seed=self.split_seed)[split]
        names = self.classes
        labels = [names.index(rows[i]["class"]) for i in kept]
        tracks = [rows[i]["track"] for i in kept]
        return ImageFiles([paths[i] for i in kept], labels, names, self.image_size, groups=tracks).load()


def _check_classes(found: Sequence[str], table: Path) -> None:
    unknown = sorted(set(found) - set(LISA_CLASSES))
    if unknown:
        raise ValueError(f"{table}: unknown classes {unknown}; the LISA classes are {list(LISA_CLASSES)}")


BOX_COLUMNS = (
    "Filename",
    "Annotation tag",
    "Upper left corner X",
    "Upper left corner Y",
    "Lower right corner X",
    "Lower right corner Y",
)
FLAGS_COLUMN = "Occluded,On another road"  # one field, such as "0,0"
FRAME_COLUMNS = (*BOX_COLUMNS, FLAGS_COLUMN, "Origin file", "Origin track")


@dataclass(eq=False)
class LisaFrames(Lisa):
    """The official distribution: frames cut to their annotation boxes, the 17 classes only.

    Reads ``root/allAnnotations.csv`` (file names relative to ``root``) or, without it, every
    ``frameAnnotations.csv`` below ``root`` (names relative to its own folder). Gray and colour frames. A track is
    (folder, "Origin file", "Origin track"); the split of a track is that of :class:`LisaCrops`.

    Args:
        root: folder with ``allAnnotations.csv``, or above the tables of each video.
        occluded: keep signs marked as occluded.
        other_road: keep signs marked as standing on another road.
    """

    occluded: bool = True
    other_road: bool = True

    def load(self, split: Split) -> ImageTensors:
        """Cut one split out of the frames; its groups are the tracks.

        Raises:
            FileNotFoundError, NotADirectoryError: the folder, the tables or a frame is missing.
            ValueError: this is the LISA Traffic Light data set, a column is missing, a value is malformed, none of the
                17 classes occurs, or a frame is corrupt.
        """
        one_of(split, SPLITS, "split")
        folder = check_folder(self.root, "LISA")
        signs = _annotations(folder)
        check_files([sign.path for sign in signs], folder)
        rows = split_by_track([s.track for s in signs], [s.name for s in signs], seed=self.split_seed)[split]
        kept = [signs[i] for i in rows if self._keeps(signs[i])]
        names = self.classes
        files = ImageFiles(
            [s.path for s in kept],
            [names.index(s.name) for s in kept],
            names,
            self.image_size,
            boxes=[s.box for s in kept],
            groups=[s.track for s in kept],
        )
        return files.load()

    def _keeps(self, sign: "_Sign") -> bool:
        return (self.occluded or not sign.occluded) and (self.other_road or not sign.other_road)


@dataclass(frozen=True)
class _Sign:
    path: Path
    name: str
    box: Box
    track: str
    occluded: bool
    other_road: bool


def _annotations(root: Path) -> list[_Sign]:
    table = root / "allAnnotations.csv"
    tables = [table] if table.is_file() else sorted(root.rglob("frameAnnotations.csv"))
    if not tables:
        light = ", but this looks like the LISA Traffic Light data set" if _is_light(root) else ""
        raise FileNotFoundError(f"{root}: neither allAnnotations.csv nor frameAnnotations.csv{light}")
    signs = [sign for path in tables for sign in _signs(root, path)]
    if not signs:
        raise ValueError(f"{tables[0]}: none of the 17 classes occurs; they are {list(LISA_CLASSES)}")
    return signs


def _is_light(root: Path) -> bool:
    return (root / "Annotations").is_dir() or any(root.rglob("frameAnnotationsB*.csv"))


def _signs(root: Path, table: Path) -> Iterator[_Sign]:
    with table.open(encoding="utf-8-sig") as file:
        header = file.readline().strip().split(";")
    if FLAGS_COLUMN not in header and set(BOX_COLUMNS) <= set(header):
        raise ValueError(
            f"{table}: this is the LISA Traffic Light data set (no {FLAGS_COLUMN!r} field), not LISA signs"
        )
    for number, row in enumerate(read_table(table, FRAME_COLUMNS, delimiter=";"), start=2):
        if row["Annotation tag"] not in LISA_CLASSES:
            continue
        path = table.parent / row["Filename"]
        video = Path(row["Origin file"]).name
        try:
            left, top, right, bottom = (int(row[name]) for name in BOX_COLUMNS[2:])
            occluded, other_road = (bool(int(flag)) for flag in row[FLAGS_COLUMN].split(","))
        except ValueError as error:
            raise ValueError(f"{table}, line {number}: malformed box or {FLAGS_COLUMN!r}: {error}") from error
        track = f"{path.relative_to(root).parts[0]}/{video}/{row['Origin track']}"
        yield _Sign(path, row["Annotation tag"], (top, bottom, left, right), track, occluded, other_road)
