"""Splits by track: a track holds near-duplicate frames of one pass by a sign and never crosses a border."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

from blurnet.data.images import SPLITS, Split
from blurnet.data.loader import seed_from

#: Shares of the tracks in train, val and test.
FRACTIONS = (0.7, 0.1, 0.2)


def split_by_track(
    tracks: Sequence[str],
    classes: Sequence[Hashable],
    *,
    seed: int = 0,
    fractions: tuple[float, float, float] = FRACTIONS,
) -> dict[Split, list[int]]:
    """Row numbers of train, val and test, whole tracks only, stratified by class.

    The order in which tracks are drawn is a hash of (seed, track), so the result depends neither on the order
    of the rows nor on the machine. A class with three tracks or more has at least one in every split, one with
    two is in train and test, one with one in train only. A track that shows several classes counts for the
    rarest of them first; rare classes choose first.

    Args:
        tracks: one track name a row.
        classes: one class a row.
        seed: which split.
        fractions: shares of each class's tracks in (train, val, test), summing to 1.

    Raises:
        ValueError: lengths differ, there are no rows, or the fractions are no shares.
    """
    if len(tracks) != len(classes) or not tracks:
        raise ValueError(f"{len(tracks)} tracks and {len(classes)} classes: need as many of each, at least one")
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"fractions must be three shares that sum to 1, got {fractions}")
    by_class: dict[Hashable, set[str]] = defaultdict(set)
    for track, label in zip(tracks, classes, strict=True):
        by_class[label].add(track)
    place: dict[str, Split] = {}
    for label in sorted(by_class, key=lambda c: (len(by_class[c]), str(c))):
        _place_class(by_class[label], place, seed, fractions)
    rows: dict[Split, list[int]] = {split: [] for split in SPLITS}
    for row, track in enumerate(tracks):
        rows[place[track]].append(row)
    return rows


def _place_class(tracks: set[str], place: dict[str, Split], seed: int, fractions: tuple[float, float, float]) -> None:
    """Give each track of one class that has no split yet to the split that is shortest of its share."""
    wanted = _shares(len(tracks), fractions)
    held = Counter(place[track] for track in tracks if track in place)
    # An empty split comes first, then the one furthest below its share; test before val before train on ties.
    free = sorted((t for t in tracks if t not in place), key=lambda t: (seed_from(seed, t), t))
    for track in free:
        split = max(reversed(SPLITS), key=lambda s: (held[s] == 0 and wanted[s] > 0, wanted[s] - held[s]))
        place[track] = split
        held[split] += 1


def _shares(n: int, fractions: tuple[float, float, float]) -> dict[Split, int]:
    if n == 1:
        return {"train": 1, "val": 0, "test": 0}
    if n == 2:
        return {"train": 1, "val": 0, "test": 1}
    val, test = (max(1, round(f * n)) if f > 0 else 0 for f in fractions[1:])
    return {"train": max(1, n - val - test), "val": val, "test": test}
