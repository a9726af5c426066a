"""LISA traffic signs (Mogelmose et al. 2012): the official frames, or a folder of crops; split by track."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from blurnet.checks import check_folder
from blurnet.data.images import ImageFiles, ImageTensors, Split, check_split
from blurnet.data.labels import LISA_CLASSES, label_names
from blurnet.data.tables import check_files, read_table
from blurnet.data.tracks import split_by_track

Outputs = Literal[17, 18]

CROP_COLUMNS = ("file", "class", "track")


class LisaCrops(ImageTensors):
    """Crops of the 17 classes: ``root/crops/*`` and ``root/annotations.csv`` (file, class, track, ...).

    Decoded once into memory, gray repeated to RGB, resized to squares by antialiased bilinear interpolation.

    Args:
        root: the folder.
        split: "train", "val" or "test"; 70 / 10 / 20 % of each class's tracks.
        outputs: 18 for labels counted from 1 (stop = 14, the RP2 authors' net), 17 for labels from 0.
        image_size: side in pixels.
        seed: which split by track.

    Raises:
        FileNotFoundError, NotADirectoryError: the folder, the table or an image is missing.
        ValueError: a column is missing, a class is unknown, or an image is corrupt.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        outputs: Outputs = 18,
        image_size: int = 32,
        seed: int = 0,
    ) -> None:
        check_split(split)
        names = label_names(outputs)
        folder = check_folder(root, "LISA crops")
        table = folder / "annotations.csv"
        rows = read_table(table, CROP_COLUMNS)
        _check_classes([row["class"] for row in rows], table)
        paths = [folder / "crops" / row["file"] for row in rows]
        check_files(paths, table)
        kept = split_by_track([r["track"] for r in rows], [r["class"] for r in rows], seed=seed)[split]
        files = ImageFiles([paths[i] for i in kept], [names.index(rows[i]["class"]) for i in kept], names, image_size)
        loaded = files.load()
        super().__init__(loaded.images, loaded.labels, names)
        self.tracks = tuple(rows[i]["track"] for i in kept)


def _check_classes(found: Sequence[str], table: Path) -> None:
    unknown = sorted(set(found) - set(LISA_CLASSES))
    if unknown:
        raise ValueError(f"{table}: unknown classes {unknown}; the LISA classes are {list(LISA_CLASSES)}")
