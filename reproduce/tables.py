"""Published beside measured: what every table script prints and writes."""

import argparse
import json
from pathlib import Path
from typing import Any

from blurnet.files import write_atomic
from blurnet.rates import Rate


def root_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with ``--root`` and ``--json``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--root", type=Path, required=True, help="the RP2 authors' clone, its converted folder, or a folder above it"
    )
    parser.add_argument("--json", type=Path, help="write the rows here")
    return parser


def victims_folder(root: Path) -> Path:
    """The RP2 folder at ``root`` or in it as rp2-lisa/ or lisa-cnn-attack/."""
    for folder in (root / "rp2-lisa", root / "lisa-cnn-attack"):
        if folder.is_dir():
            return folder
    return root


def with_interval(rate: Rate) -> str:
    """A rate in percent with its 95 % interval and n."""
    shown = rate.as_dict()
    return f"{shown['value']:.1f} [{shown['low']:.0f}, {shown['high']:.0f}] n={shown['n']}"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, its columns padded so that it also reads as plain text."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join("| " + " | ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)) + " |" for line in lines)


def write_rows(path: Path | None, rows: list[dict[str, Any]], **more: Any) -> None:
    """Write ``{"rows": [...], ...}`` where a path was given, and say so."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps({"rows": rows, **more}, indent=1) + "\n")
    print(f"\nwritten: {path}")
