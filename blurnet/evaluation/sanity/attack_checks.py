"""Sanity checks that compare attacks, image by image: what must be stronger has to be stronger on nearly all.

Compared are margins after attacks that run to their end, not successes: where nothing or everything succeeds they
still tell a gradient that leads somewhere from one that does not. An honest net fails a comparison on less than a
tenth of its images; :func:`~blurnet.evaluation.flags.unlikely` says when it is more.
"""

import torch
from torch import Tensor

from blurnet.evaluation.flags import Flag, at_least, unlikely
from blurnet.evaluation.trial import Trial

#: Queries of the search without gradients, for each step of a gradient attack: a gradient must be worth more.
QUERIES = 4

_WEAK = "The gradient does not lead the attack to where the model gives way: it is masked, or the attack stops early."


def noise_beats_gradient(trial: Trial) -> Flag | None:
    """Whether the best of as many random noises as the attack has steps beats the gradient attack."""
    noise = torch.stack([trial.margins(trial.random(number)) for number in range(trial.steps)]).amin(dim=0)
    cure = "Look for what stops the gradient (see zero-gradient, random-model), and attack through a stand-in for it."
    return _compare("noise-beats-gradient", noise, trial.best_climbed, _WEAK, cure, trial)


def black_box_beats_gradient(trial: Trial) -> Flag | None:
    """Whether random search with four queries for each gradient step beats the gradient attack."""
    found = trial.after(trial.queries(QUERIES * trial.steps))
    cure = "Attack through a stand-in for what hides the gradient, and quote the worst of both attacks."
    return _compare("black-box-beats-gradient", found, trial.best_climbed, _WEAK, cure, trial)


def transfer_beats_gradient(trial: Trial) -> Flag | None:
    """Whether an attack made on another net beats the gradient attack; None without a source."""
    if trial.source is None:
        return None
    found = trial.after(trial.transfer(trial.source))
    cure = "Attack the model with the source's gradient (BPDA), and quote the worst of both attacks."
    return _compare("transfer-beats-gradient", found, trial.best_climbed, _WEAK, cure, trial)


def single_step_beats_iterative(trial: Trial) -> Flag | None:
    """Whether one step of the whole budget beats many from the same start."""
    cause = "Many small steps end higher than one long one: the loss surface is made rough, or steps are misled."
    cure = "Attack with restarts, momentum and other losses; look for what disturbs the gradient."
    single = trial.after(trial.climb(1, size=1.0))
    return _compare("single-step-beats-iterative", single, trial.climbed, cause, cure, trial)


def steps_do_not_help(trial: Trial) -> Flag | None:
    """Whether more steps of the same length, from the image, leave the margin where one step left it."""
    one, many = (trial.after(trial.climb(steps, size=0.25)) for steps in (1, trial.steps))
    cause = f"The attack gains nothing from {trial.steps} steps over one: it has no direction to follow."
    cure = "Look for what stops the gradient, and attack through a stand-in for it."
    return _no_gain("steps-do-not-help", one, many, cause, cure, trial)


def budget_does_not_help(trial: Trial) -> Flag | None:
    """Whether a larger budget (twice the radius, four times the patch) leaves the margin where the smaller did."""
    cause = "A larger budget, which holds the smaller one, does not bring the attack further."
    cure = "Look for what stops the gradient, and attack through a stand-in for it."
    return _no_gain("budget-does-not-help", trial.after(trial.half()), trial.climbed, cause, cure, trial)


def unbounded_falls_short(trial: Trial) -> Flag | None:
    """Whether a gradient attack that may rewrite the whole image leaves any answer right.

    No statistics here: every other answer of the model is within reach, so that one survivor is enough. Survivors
    get four times the steps before they count.
    """
    left = trial.after(trial.unbounded(trial.steps)) >= 0
    if bool(left.any()):
        left = trial.after(trial.unbounded(4 * trial.steps)) >= 0
    survivors = int(left.sum())
    if not survivors:
        return None
    return Flag(
        "unbounded-falls-short",
        "A gradient attack without any bound does not reach success on every image, which any bound's figure needs.",
        "Look for what stops the gradient; until this reaches 100 %, robust accuracy is not measured.",
        {"images": trial.n, "survivors": survivors, "steps": 4 * trial.steps},
    )


def _compare(name: str, weak: Tensor, strong: Tensor, cause: str, cure: str, trial: Trial) -> Flag | None:
    """A flag where the attack that must be weaker leaves smaller margins on too many images."""
    return _flag(name, int((weak < strong - trial.wobble).sum()), weak, strong, cause, cure, trial)


def _no_gain(name: str, less: Tensor, more: Tensor, cause: str, cure: str, trial: Trial) -> Flag | None:
    """A flag where the attack that must be stronger leaves margins that are no smaller, on too many images."""
    return _flag(name, int((more >= less).sum()), less, more, cause, cure, trial)


def _flag(name: str, count: int, weak: Tensor, strong: Tensor, cause: str, cure: str, trial: Trial) -> Flag | None:
    if not unlikely(count, trial.n):
        return None
    evidence = {
        "images": trial.n,
        "against": count,
        "allowed": at_least(trial.n) - 1,
        "median_margin_weaker": float(weak.median()),
        "median_margin_stronger": float(strong.median()),
    }
    return Flag(name, cause, cure, evidence)
