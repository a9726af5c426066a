"""CSV tables of annotations, checked before any image is opened."""

import csv
from collections.abc import Sequence
from pathlib import Path


def read_table(path: Path, columns: Sequence[str], delimiter: str = ",") -> list[dict[str, str]]:
    """Rows of a CSV file with a header, as dictionaries.

    Args:
        path: the file, UTF-8.
        columns: the columns the caller needs; others are kept.
        delimiter: the field separator.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a column is missing, a row is short, or there is no row.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such annotation file: {path}")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, delimiter=delimiter)
        found = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = found
        missing = [name for name in columns if name not in found]
        if missing:
            raise ValueError(f"{path}: missing column {missing}; the header has {found}")
        rows = list(reader)
    if not rows:
        raise ValueError(f"{path}: the table has a header but no rows")
    for number, row in enumerate(rows, start=2):
        if any(row[name] is None for name in columns):
            raise ValueError(f"{path}, line {number}: the row has fewer fields than the header")
    return rows


def check_files(paths: Sequence[Path], listed_in: Path) -> None:
    """Require every listed image.

    Raises:
        FileNotFoundError: with the count and the first few that are missing.
    """
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        shown = ", ".join(missing[:3])
        raise FileNotFoundError(f"{listed_in}: {len(missing)} of {len(paths)} images are missing: {shown}")
