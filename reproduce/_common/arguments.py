"""Command lines: the options that several scripts have, and the command that a table is written with."""

import argparse
import shlex
import sys
from pathlib import Path

import torch


def new_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose ``--help`` begins with a script's docstring, its lines kept."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_json(parser: argparse.ArgumentParser) -> None:
    """``--json``: where :func:`~reproduce._common.tables.write_rows` writes."""
    parser.add_argument("--json", type=Path, help="write the rows here")


def add_out(parser: argparse.ArgumentParser, folder: str, holds: str) -> None:
    """``--out``: the folder of what a script leaves, with its default and what ``--help`` says of it."""
    parser.add_argument("--out", type=Path, default=Path(folder), help=f"{holds} (default: {folder})")


def add_machine(parser: argparse.ArgumentParser) -> None:
    """``--device`` and ``--threads``, which :func:`set_threads` reads."""
    parser.add_argument("--device", default="cpu", help='"cpu" or "cuda" (default: cpu)')
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's own choice)")


def set_threads(arguments: argparse.Namespace) -> None:
    """Follow ``--threads``."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)


def root_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with ``--root`` and ``--json``, for what the RP2 authors released."""
    parser = new_parser(doc)
    parser.add_argument(
        "--root", type=Path, required=True, help="the RP2 authors' clone, its converted folder, or a folder above it"
    )
    add_json(parser)
    return parser


def victims_folder(root: Path) -> Path:
    """The RP2 folder at ``root`` or in it as rp2-lisa/ or lisa-cnn-attack/."""
    for folder in (root / "rp2-lisa", root / "lisa-cnn-attack"):
        if folder.is_dir():
            return folder
    return root


def crops_folder(root: Path) -> Path:
    """The folder of LISA's crops at ``root`` or in it as lisa-crops/."""
    inside = root / "lisa-crops"
    return inside if inside.is_dir() else root


def command(module: str) -> str:
    """The command line that runs now, without anybody's folders and without where the results go."""
    words = [part for word in sys.argv[1:] for part in (word.split("=", 1) if word.startswith("--") else [word])]
    kept = ["python", "-m", f"reproduce.{module}"]
    for before, word in zip(["", *words], words, strict=False):
        if {"--json", "--out"} & {before, word}:
            continue
        file = before == "--weights" and Path(word).suffix != ""
        kept.append("DIR" if before in ("--data-root", "--root") else "FILE" if file else shlex.quote(word))
    return " ".join(kept)
