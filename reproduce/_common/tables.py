"""Published beside measured: what every table script prints and writes."""

import json
from pathlib import Path
from typing import Any

from blurnet.files import write_atomic
from blurnet.rates import Rate
from blurnet.strict import plain


def shown(rate: Rate | None, n: bool = False) -> str:
    """ "96.8 [96, 98]", short enough for wide tables, or "96.8 [96, 98] n=1026"; a dash for None."""
    if rate is None:
        return "-"
    return f"{rate.value:.1f} [{rate.low:.0f}, {rate.high:.0f}]" + (f" n={rate.n}" if n else "")


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, its columns padded so that it also reads as plain text."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join("| " + " | ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)) + " |" for line in lines)


def write_rows(path: Path | None, rows: list[dict[str, Any]], **more: Any) -> None:
    """Write ``{"rows": [...], ...}`` where a path was given, and say so; rates as JSON holds them."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(plain({"rows": rows, **more}), indent=1) + "\n")
    print(f"\nwritten: {path}")
