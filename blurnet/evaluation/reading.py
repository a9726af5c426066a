"""Reports from files that anyone may have written: checked before anything is read from them."""

import os
from pathlib import Path
from typing import Any

from blurnet.strict import parse_json

FORMATS = (1, 2)

#: What every report has, whatever its format.
NEEDED = {"blurnet": str, "versions": dict, "command": str, "model": dict, "attacks": list}

#: What earlier reports lacked, with what it meant.
LATER: dict[str, Any] = {"per_image": None, "adaptive": None, "flags": [], "defenses": None}


def read_report(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a report.json, or of the one in a folder, in the present format.

    Raises:
        FileNotFoundError: no such file. ValueError: not JSON, or no report of a known format; one line says why.
    """
    file = Path(path)
    file = file / "report.json" if file.is_dir() else file
    if not file.is_file():
        raise FileNotFoundError(f"no such report: {file}")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: not a text file ({error.reason})") from error
    report = parse_json(text, str(file))
    if not isinstance(report, dict) or report.get("format") not in FORMATS:
        found = report.get("format") if isinstance(report, dict) else type(report).__name__
        raise ValueError(f'{file}: no report: expected "format" {" or ".join(map(str, FORMATS))}, got {found!r}')
    if wrong := [key for key, kind in NEEDED.items() if not isinstance(report.get(key), kind)]:
        raise ValueError(f"{file}: no report of an evaluation: {', '.join(wrong)} missing or of another kind")
    return LATER | report
