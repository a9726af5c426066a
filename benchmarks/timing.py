"""Interleaved timing: every entry once a round, so that a slow moment of the machine hits all of them alike."""

import functools
import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from tqdm import tqdm

POOL = 2**31  #: bytes of memory touched before anything is timed


def medians(
    entries: Mapping[str, Callable[[], object]], rounds: int, label: str, seconds: float = 0.0
) -> dict[str, float]:
    """Median wall-clock seconds of each entry over interleaved rounds: ``rounds``, or more until ``seconds`` are over.

    Each timed call follows one of the same entry that is not timed: it finds caches and freed memory as a loop over
    batches leaves them, not as the entry before did.
    """
    touch_memory()
    times: dict[str, list[float]] = {name: [] for name in entries}
    began = time.perf_counter()
    with tqdm(total=rounds, desc=label, leave=False) as bar:
        while bar.n < bar.total:
            for name, entry in entries.items():
                entry()
                start = time.perf_counter()
                entry()
                times[name].append(time.perf_counter() - start)
            if not bar.n:
                bar.total = max(rounds, int(seconds / (time.perf_counter() - began)))
            bar.update()
    return {name: statistics.median(values) for name, values in times.items()}


def finished(run: Callable[[], object], x: Tensor) -> Callable[[], object]:
    """The run until its result is there: a GPU works on after the call."""
    if not x.is_cuda:
        return run

    def wait() -> None:
        run()
        torch.cuda.synchronize(x.device)

    return wait


@functools.cache
def touch_memory() -> None:
    """Take :data:`POOL` bytes, write to them and give them back to the allocator, once a process.

    With the settings of ``make bench`` it keeps them. Otherwise whether a call gets memory used before, or fresh pages
    that cost more than its work, is chance: glibc's aligned allocation leaves holes that the next one misses.
    """
    torch.ones(POOL, dtype=torch.uint8)
