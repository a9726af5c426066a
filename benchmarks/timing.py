"""Interleaved timing: every entry once a round, so that a slow moment of the machine hits all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping

from tqdm import tqdm


def medians(entries: Mapping[str, Callable[[], object]], rounds: int, label: str) -> dict[str, float]:
    """Median wall-clock seconds of each entry over ``rounds`` interleaved rounds.

    Each timed call follows one of the same entry that is not timed: it finds caches and freed memory as a loop over
    batches leaves them, not as the entry before did. Fresh memory can cost more than the work.
    """
    times: dict[str, list[float]] = {name: [] for name in entries}
    for _ in tqdm(range(rounds), desc=label, leave=False):
        for name, entry in entries.items():
            entry()
            start = time.perf_counter()
            entry()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}
