"""Figure 3 of LGS's paper: what each defense costs.

    python -m reproduce.lgs_figure3 --data-root DIR [--limit N] [--rounds N] [--threads N] [--json FILE]

Every defense gets the same photos, as one batch, in interleaved rounds; the median round counts. "ratio" is to copying
the batch, the least that any transformation does; the last column is the paper's unit, the time for 50,000 photos. The
paper's own times stand in a picture only and are not repeated here; they were taken with scipy, scikit-image and Pillow
on a quad-core desktop, against which ``python -m benchmarks.transforms`` measures.
"""

import argparse
from typing import Any

import torch

from benchmarks.timing import finished, medians
from reproduce._common.arguments import command
from reproduce._common.lgs import COMPARED, DEFENSES, choose, rows_option
from reproduce._common.photos import Setup, load_setup, setup_parser
from reproduce._common.tables import markdown, write_rows

COPY = "copying the batch"
FILTERS = ("Gaussian, window 5", "bilateral, window 5")
ROWS = tuple(row for row in DEFENSES if row.name in (*COMPARED, *FILTERS) and row.text)


def table(setup: Setup, rounds: int, names: list[str] | None) -> list[dict[str, Any]]:
    """The rows, fastest first."""
    images, _ = setup.everything()
    entries = {COPY: finished(images.clone, images)}
    texts = {COPY: ""}
    for row in choose(ROWS, names):
        # The net is not timed, but blind watermarking looks at its saliency.
        transform = setup.defended(row.text)[0]
        entries[row.name], texts[row.name] = finished(lambda t=transform: t(images), images), row.text
    with torch.no_grad():
        seconds = {name: value / len(images) for name, value in medians(entries, rounds, "defenses").items()}
    return [
        {
            "row": name,
            "defense": texts[name],
            "measured": {
                "milliseconds an image": round(1000 * value, 4),
                "images a second": round(1 / value, 1),
                "ratio": round(value / seconds[COPY], 2),
                "seconds for 50,000": round(50_000 * value, 1),
            },
        }
        for name, value in sorted(seconds.items(), key=lambda item: item[1])
    ]


def parse() -> argparse.Namespace:
    """The command line."""
    parser = setup_parser(__doc__, limit=64)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved repeats; the median counts (default: 5)")
    rows_option(parser)
    return parser.parse_args()


def main() -> None:
    """Print the table; write it where asked."""
    arguments = parse()
    setup = load_setup(arguments)
    rows = table(setup, arguments.rounds, arguments.rows)
    lines = [
        [
            row["row"],
            f"{m['milliseconds an image']:.3f}",
            f"{m['images a second']:,.0f}",
            f"{m['ratio']:.1f}",
            f"{m['seconds for 50,000']:,.0f}",
        ]
        for row in rows
        for m in [row["measured"]]
    ]
    size, threads = arguments.image_size, torch.get_num_threads()
    where = f"LGS Figure 3, {len(setup.pool)} photos {size} x {size}, {arguments.device}, {threads} threads"
    print(markdown([where, "ms an image", "images/s", "ratio", "s for 50,000"], lines))
    facts = {"photos": len(setup.pool), "image_size": size, "device": arguments.device, "threads": threads}
    write_rows(arguments.json, rows, settings=facts, command=command("lgs_figure3"))


if __name__ == "__main__":
    main()
