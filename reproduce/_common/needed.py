"""Is Deep Protection needed? Scores of how a net's answer changes along a prior's iterations, without a label."""

import math
from collections.abc import Callable, Sequence
from statistics import mean
from typing import Any, NamedTuple

from scipy.stats import mannwhitneyu

Seen = dict[str, Any]  #: what :func:`reproduce._common.prior.watch` says of one image

#: Parts of a run that a score may look at, as shares of its iterations.
WINDOWS = ((0.0, 0.15), (0.15, 0.4), (0.4, 1.0), (0.0, 1.0))

_TINY = 1e-6  #: where a logarithm of a probability ends


class Detector(NamedTuple):
    """A score and the part of the run that it looks at."""

    score: str
    window: tuple[float, float]

    def __call__(self, seen: Seen, at: Sequence[int]) -> float:
        """High where the image may be an attack: its answer does not come back while it is drawn."""
        low, high = (share * at[-1] for share in self.window)
        chosen = [number for number, iteration in enumerate(at) if low < iteration <= high]
        if not chosen:
            raise ValueError(f"no iteration of {list(at)} lies in {self.window}; ask the net more often")
        return SCORES[self.score](seen, chosen)


def _changed(seen: Seen, chosen: Sequence[int]) -> float:
    return mean(float(seen["answers"][i] != seen["input"]["answer"]) for i in chosen)


def _drop(seen: Seen, chosen: Sequence[int]) -> float:
    return seen["input"]["probability"] - mean(seen["probabilities"][i] for i in chosen)


def _log_drop(seen: Seen, chosen: Sequence[int]) -> float:
    along = mean(math.log(max(seen["probabilities"][i], _TINY)) for i in chosen)
    return math.log(max(seen["input"]["probability"], _TINY)) - along


#: The share of answers that differ from that on the image; how far the probability of that answer drops; its logarithm.
SCORES: dict[str, Callable[[Seen, Sequence[int]], float]] = {
    "changed": _changed,
    "drop": _drop,
    "log drop": _log_drop,
}


def auc(attacked: Sequence[float], clean: Sequence[float]) -> float | None:
    """The area under the ROC curve: how often a score of ``attacked`` is above one of ``clean``, a tie half.

    None where either has no scores.
    """
    if not attacked or not clean:
        return None
    return round(float(mannwhitneyu(attacked, clean).statistic) / (len(attacked) * len(clean)), 4)


def choose(attacked: dict[str, list[Seen]], clean: list[Seen], at: Sequence[int]) -> tuple[Detector, float] | None:
    """The detector with the largest area, averaged over attacks, and that area; None where nothing can be judged."""
    best: tuple[Detector, float] | None = None
    for window in WINDOWS:
        if not any(window[0] * at[-1] < iteration <= window[1] * at[-1] for iteration in at):
            continue
        for score in SCORES:
            detector = Detector(score, window)
            areas = areas_of(detector, attacked, clean, at)
            found = [area for area in areas.values() if area is not None]
            if found and (best is None or mean(found) > best[1]):
                best = detector, mean(found)
    return best


def areas_of(
    detector: Detector, attacked: dict[str, list[Seen]], clean: list[Seen], at: Sequence[int]
) -> dict[str, float | None]:
    """The area by attack, of its photos against the clean ones."""
    base = [detector(seen, at) for seen in clean]
    return {name: auc([detector(seen, at) for seen in found], base) for name, found in attacked.items()}
