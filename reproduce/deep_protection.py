"""The poster "Deep Protection": an untrained net redraws attacked photos, and a classifier looks at what it has drawn.

    python -m reproduce.deep_protection --data-root DIR [--limit N] [--image-size S] [--net NAME] [--iterations N]

Photos that the net answers correctly, as they are and under eight attacks made on the net alone; those that an attack
does not fool leave its row. The poster names no attack, no net of the prior and no rate; ours are foolbox's FGSM, BIM,
PGD and momentum FGSM at linf ``--radii`` (one: all of it; several: the smallest that fools, as foolbox did at the
time), DeepFool, Carlini and Wagner's L2, NewtonFool and salt and pepper, which go as far as they must. The prior runs
once on every picture, and every ``--every`` iterations the classifier is asked:

- "oracle": the true class is among the five most likely at any of these looks, the poster's "automatic termination". It
  takes the true class, so it is an upper bound and no defense;
- "fixed": after all iterations, top-1 and top-5 (the poster's 84.4 % says neither which);
- ES-WMV, ES-EMV, DIPDefend: stopping rules that need no label, with the median of their stops.

"before" is the classifier's own top-5 on the attacked photo: where the true class has only fallen to the second place
the oracle has nothing to do. Under the table: the histogram of the oracle's stops, the best fixed number of iterations
(chosen on these very photos), and whether the way in which the answer changes tells attacked photos from clean ones
(area under the ROC curve; score and window are chosen on every other photo and judged on the rest).

Who knows of the prior attacks it in ``reproduce.deep_protection_adaptive``. Finished batches stay in ``--out``, with
``stops.png`` and ``curves.png``.

Published: ResNet-18, 100 photos of 25 ImageNet classes, eight attacks of foolbox.
"""

import argparse
from collections import Counter
from statistics import median
from typing import Any

import torch
from matplotlib.figure import Figure
from tqdm import tqdm

from blurnet.rates import Rate
from reproduce._common import needed
from reproduce._common.answers import answers, correct
from reproduce._common.arguments import command
from reproduce._common.cells import Cells
from reproduce._common.photos import Setup, load_setup, settings, setup_parser
from reproduce._common.prior import (
    RULES,
    Seen,
    attack_arguments,
    attack_of,
    first_top5,
    grid,
    prior_arguments,
    prior_settings,
    watch,
)
from reproduce._common.tables import markdown, shown, write_rows

CLEAN, ALL, NEVER = "no attack", "all attacks", "never"

#: Percent, over all eight attacks.
PUBLISHED = {"oracle": 97.4, "fixed": 84.4}

#: Photos by default: what two CPU cores finish in about half an hour; at 128 pixels 6 of 10 are answered correctly.
LIMIT = 14

Cell = dict[str, Any]


def run(setup: Setup, cells: Cells, arguments: argparse.Namespace) -> dict[str, list[Cell]]:
    """By attack, and under :data:`CLEAN`: its photos, each with the place, label, distance and what was seen."""
    names = [CLEAN, *arguments.attacks]
    found: dict[str, list[Cell]] = {name: [] for name in names}
    with tqdm(total=len(names) * len(setup.pool), desc="pictures", unit="photo") as bar:
        for number in range(setup.pool.shards):
            for name in names:
                key = f"{name} | {number}"
                found[name] += cells.get(key, lambda name=name, number=number: batch(setup, name, number, arguments))
                bar.update(len(setup.pool.places(number)))
    return found


def batch(setup: Setup, name: str, number: int, arguments: argparse.Namespace) -> list[Cell]:
    """One attack on one batch: an entry for each photo answered correctly, with a run where the net is fooled."""
    images, labels = setup.batch(number)
    kept = correct(setup.net, images, labels).nonzero().squeeze(1)
    if not len(kept):
        return []
    images, labels, seen = images[kept], labels[kept], images[kept]
    if name != CLEAN:
        seen = attack_of(name, arguments)(setup.net, images, labels)
    chosen = torch.ones_like(labels, dtype=torch.bool) if name == CLEAN else answers(setup.net, seen) != labels
    distance = (seen - images).flatten(1)
    entries: list[Cell] = [
        {
            "photo": setup.pool.places(number)[int(place)],
            "label": int(label),
            "l2": round(float(change.norm()), 4),
            "linf": round(float(change.abs().max()), 5),
            "seen": None,
        }
        for place, label, change in zip(kept, labels, distance, strict=True)
    ]
    if bool(chosen.any()):
        at = grid(arguments.iterations, arguments.every)
        ran = watch(setup.net, seen[chosen], labels[chosen], prior_settings(arguments), at)
        for place, what in zip(chosen.nonzero().squeeze(1).tolist(), ran, strict=True):
            entries[place]["seen"] = what
    return entries


def runs(entries: list[Cell]) -> list[Cell]:
    """Those that the prior was run on: clean photos, and attacked ones that fool."""
    return [entry for entry in entries if entry["seen"] is not None]


def row_of(name: str, entries: list[Cell], at: tuple[int, ...]) -> dict[str, Any]:
    """Published beside measured; photos under several attacks are resampled together."""
    chosen = runs(entries)
    return {
        "row": name,
        "published": PUBLISHED if name == ALL else None,
        "measured": {
            "fooled": None if name == CLEAN else rate([entry["seen"] is not None for entry in entries], entries),
            "median l2": median(entry["l2"] for entry in chosen) if chosen and name != CLEAN else None,
            "before": rate([entry["seen"]["input"]["top5"] for entry in chosen], chosen),
            "oracle": rate([first_top5(entry["seen"], at) is not None for entry in chosen], chosen),
            "fixed": along(chosen, len(at) - 1),
            **{rule: ruled(chosen, rule) for rule in RULES},
        },
        "curve": {str(iteration): along(chosen, number) for number, iteration in enumerate(at)},
        "stops": dict(Counter(str(first_top5(entry["seen"], at) or NEVER) for entry in chosen)),
    }


def rate(flags: list[bool], entries: list[Cell]) -> Rate | None:
    """The share of true ones; None of none."""
    return Rate.over(torch.tensor(flags), [entry["photo"] for entry in entries]) if flags else None


def along(chosen: list[Cell], number: int) -> dict[str, Rate | None]:
    """Top-1 and top-5 at one look of the grid."""
    return {
        "top1": rate([entry["seen"]["answers"][number] == entry["label"] for entry in chosen], chosen),
        "top5": rate([entry["seen"]["top5"][number] for entry in chosen], chosen),
    }


def ruled(chosen: list[Cell], rule: str) -> dict[str, Any]:
    """Top-1 and top-5 where a rule stops, and the median of its stops."""
    stopped = [entry["seen"]["rules"][rule] for entry in chosen]
    right = [stop["answer"] == entry["label"] for stop, entry in zip(stopped, chosen, strict=True)]
    return {
        "top1": rate(right, chosen),
        "top5": rate([stop["top5"] for stop in stopped], chosen),
        "median stop": median(stop["at"] for stop in stopped) if stopped else None,
    }


def detection(found: dict[str, list[Cell]], at: tuple[int, ...]) -> dict[str, Any] | None:
    """The score that tells attacked from clean best on every other photo, and its areas on the rest."""
    photos = sorted({entry["photo"] for entry in found[CLEAN]})
    half = set(photos[::2])

    def seen(entries: list[Cell], inside: bool) -> list[Seen]:
        return [entry["seen"] for entry in runs(entries) if (entry["photo"] in half) is inside]

    attacked = [{n: seen(e, inside) for n, e in found.items() if n != CLEAN} for inside in (True, False)]
    clean = [seen(found[CLEAN], inside) for inside in (True, False)]
    chosen = needed.choose(attacked[0], clean[0], at)
    if chosen is None:
        return None
    detector, area = chosen
    areas = needed.areas_of(detector, attacked[1], clean[1], at)
    return {
        "score": detector.score,
        "window": detector.window,
        "photos": [len(part) for part in clean],
        "chosen at": round(area, 4),
        "areas": areas,
    }


def best_fixed(row: dict[str, Any]) -> tuple[str, Rate] | None:
    """The look of the grid with the highest top-1, the first of several."""
    looks = [(iteration, look["top1"]) for iteration, look in row["curve"].items() if look["top1"] is not None]
    return max(looks, key=lambda pair: pair[1].value) if looks else None


def said(rows: list[dict[str, Any]], found: dict[str, Any] | None) -> list[str]:
    """The histogram, the best fixed number and the detector, in words."""
    row = next(row for row in rows if row["row"] == ALL)
    counts = [(k, n) for k, n in row["stops"].items() if k != NEVER]
    stops = [f"{k}: {n}" for k, n in sorted(counts, key=lambda pair: int(pair[0]))]
    stops.append(f"{NEVER}: {row['stops'].get(NEVER, 0)}")
    lines = ["Oracle stops, all attacks: " + ", ".join(stops)]
    if (best := best_fixed(row)) is not None:
        lines.append(f"Best fixed number, chosen on these photos: {best[0]} iterations, top-1 {shown(best[1])}")
    if found is None:
        return [*lines, "Detector: nothing to judge."]
    window = " to ".join(f"{100 * share:g}" for share in found["window"])
    areas = ", ".join(f"{n} {'-' if a is None else f'{a:.2f}'}" for n, a in found["areas"].items())
    lines.append(
        f"Detector: {found['score']!r} from {window} % of the run, chosen on {found['photos'][0]} photos "
        f"(area {found['chosen at']:.2f}); on {found['photos'][1]} others: {areas}"
    )
    return lines


def _line(row: dict[str, Any]) -> list[str]:
    m, published = row["measured"], row["published"]
    pair = lambda look: f"{shown(look['top1'])} / {shown(look['top5'])}"  # noqa: E731
    given = f"{published['oracle']} / {published['fixed']}" if published else ""
    stop = lambda look: "" if look["median stop"] is None else f" at {look['median stop']:g}"  # noqa: E731
    distance = "" if m["median l2"] is None else f"{m['median l2']:.2f}"
    count = "-" if m["before"] is None else str(m["before"].n)
    rules = [pair(m[rule]) + stop(m[rule]) for rule in RULES]
    return [row["row"], given, count, distance, shown(m["before"]), shown(m["oracle"]), pair(m["fixed"]), *rules]


def stops_figure(rows: list[dict[str, Any]], at: tuple[int, ...]) -> Figure:
    """Histogram of the oracle's stops over all attacks."""
    stops = next(row for row in rows if row["row"] == ALL)["stops"]
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axis = figure.subplots()
    width = at[0] if len(at) == 1 else at[1] - at[0]
    axis.bar(at, [stops.get(str(iteration), 0) for iteration in at], width=0.9 * width)
    axis.set_xlabel(f"iteration at which the true class enters the top 5 (never: {stops.get(NEVER, 0)})")
    axis.set_ylabel("attacked photos")
    return figure


def curves_figure(rows: list[dict[str, Any]]) -> Figure:
    """Top-1 (lines) and top-5 (dashes) along the iterations, a colour a row."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axis = figure.subplots()
    for number, row in enumerate(rows):
        for look, style in (("top1", "-"), ("top5", "--")):
            points = [(int(k), v[look].value) for k, v in row["curve"].items() if v[look] is not None]
            label = row["row"] if look == "top1" else f"_{row['row']}"
            axis.plot([x for x, _ in points], [y for _, y in points], style, color=f"C{number}", label=label)
    axis.set_ylim(0, 100)
    axis.set_xlabel("iterations of the prior")
    axis.set_ylabel("accuracy, %: top-1, dashed top-5")
    axis.legend(fontsize=7)
    return figure


def parse() -> argparse.Namespace:
    """The command line."""
    parser = setup_parser(__doc__, limit=LIMIT, batch=7, out="runs/deep_protection")
    parser.set_defaults(image_size=128)
    prior_arguments(parser)
    attack_arguments(parser)
    parser.add_argument("--every", type=int, default=50, help="iterations between looks (default: 50)")
    arguments = parser.parse_args()
    if arguments.every < 1 or arguments.iterations < 1 or min(arguments.radii) <= 0:
        parser.error("expected --every and --iterations from 1, and --radii above 0")
    return arguments


def main() -> None:
    """Print the table and what it says, draw the figures; write the rows where asked."""
    arguments = parse()
    setup = load_setup(arguments)
    decided = settings(setup, arguments, "net", "iterations", "every", "radii", "attack_steps")
    found = run(setup, Cells(arguments.out, "deep_protection", decided), arguments)
    at = grid(arguments.iterations, arguments.every)
    together = [entry for name, entries in found.items() if name != CLEAN for entry in entries]
    rows = [row_of(name, entries, at) for name, entries in [*found.items(), (ALL, together)]]
    header = ["Deep Protection", "published: oracle / fixed", "fooled", "median L2", "before: top-5"]
    header += ["oracle: top-5", f"{arguments.iterations} fixed: top-1 / top-5"]
    print(markdown([*header, *(f"{rule}: top-1 / top-5" for rule in RULES)], [_line(row) for row in rows]))
    detected = detection(found, at)
    lines = said(rows, detected)
    print("", *lines, sep="\n")
    stops_figure(rows, at).savefig(arguments.out / "stops.png", dpi=150)
    curves_figure(rows).savefig(arguments.out / "curves.png", dpi=150)
    more = {"detector": detected, "said": lines, "settings": {**decided, "attacks": arguments.attacks}}
    write_rows(arguments.json, rows, **more, command=command("deep_protection"))


if __name__ == "__main__":
    main()
