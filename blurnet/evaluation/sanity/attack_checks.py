"""Sanity checks that compare attacks, image by image: what must be stronger has to be stronger on nearly all.

Compared are margins after attacks that run to their end, not successes: where nothing or everything succeeds they
still tell a gradient that leads somewhere from one that does not. An honest net fails a comparison on less than a
tenth of its images; :func:`~blurnet.evaluation.sanity.flags.unlikely` says when it is more.
"""

import torch
from torch import Tensor

from blurnet.evaluation.sanity.flags import Flag, at_least, unlikely
from blurnet.evaluation.sanity.subject import Subject

#: Queries of the search without gradients, for each step of a gradient attack: a gradient must be worth more.
QUERIES = 4

_WEAK = "The gradient does not lead the attack to where the model gives way: it is masked, or the attack stops early."


def noise_beats_gradient(subject: Subject) -> Flag | None:
    """Whether the best of as many random noises as the attack has steps beats the gradient attack."""
    noise = torch.stack([subject.margins(subject.random(number)) for number in range(subject.steps)]).amin(dim=0)
    cure = "Look for what stops the gradient (see zero-gradient, random-model), and attack through a stand-in for it."
    return _compare("noise-beats-gradient", noise, subject.best_climbed, _WEAK, cure, subject)


def black_box_beats_gradient(subject: Subject) -> Flag | None:
    """Whether random search with four queries for each gradient step beats the gradient attack."""
    found = subject.after(subject.queries(QUERIES * subject.steps))
    cure = "Attack through a stand-in for what hides the gradient, and quote the worst of both attacks."
    return _compare("black-box-beats-gradient", found, subject.best_climbed, _WEAK, cure, subject)


def transfer_beats_gradient(subject: Subject) -> Flag | None:
    """Whether an attack made on another net beats the gradient attack; None without a source."""
    if subject.source is None:
        return None
    found = subject.after(subject.transfer(subject.source))
    cure = "Attack the model with the source's gradient (BPDA), and quote the worst of both attacks."
    return _compare("transfer-beats-gradient", found, subject.best_climbed, _WEAK, cure, subject)


def single_step_beats_iterative(subject: Subject) -> Flag | None:
    """Whether one step of the whole budget beats many from the same start."""
    cause = "Many small steps end higher than one long one: the loss surface is made rough, or steps are misled."
    cure = "Attack with restarts, momentum and other losses; look for what disturbs the gradient."
    single = subject.after(subject.climb(1, size=1.0))
    return _compare("single-step-beats-iterative", single, subject.climbed, cause, cure, subject)


def steps_do_not_help(subject: Subject) -> Flag | None:
    """Whether more steps of the same length, from the image, leave the margin where one step left it."""
    one, many = (subject.after(subject.climb(steps, size=0.25)) for steps in (1, subject.steps))
    cause = f"The attack gains nothing from {subject.steps} steps over one: it has no direction to follow."
    cure = "Look for what stops the gradient, and attack through a stand-in for it."
    return _no_gain("steps-do-not-help", one, many, cause, cure, subject)


def budget_does_not_help(subject: Subject) -> Flag | None:
    """Whether a larger budget (twice the radius, four times the patch) leaves the margin where the smaller did."""
    cause = "A larger budget, which holds the smaller one, does not bring the attack further."
    cure = "Look for what stops the gradient, and attack through a stand-in for it."
    return _no_gain("budget-does-not-help", subject.after(subject.half()), subject.climbed, cause, cure, subject)


def unbounded_falls_short(subject: Subject) -> Flag | None:
    """Whether a gradient attack that may rewrite the whole image leaves any answer right.

    No statistics here: every other answer of the model is within reach, so that one survivor is enough. Survivors
    get four times the steps before they count.
    """
    left = subject.after(subject.unbounded(subject.steps)) >= 0
    if bool(left.any()):
        left = subject.after(subject.unbounded(4 * subject.steps)) >= 0
    survivors = int(left.sum())
    if not survivors:
        return None
    return Flag(
        "unbounded-falls-short",
        "A gradient attack without any bound does not reach success on every image, which any bound's figure needs.",
        "Look for what stops the gradient; until this reaches 100 %, robust accuracy is not measured.",
        {"images": subject.n, "survivors": survivors, "steps": 4 * subject.steps},
    )


def _compare(name: str, weak: Tensor, strong: Tensor, cause: str, cure: str, subject: Subject) -> Flag | None:
    """A flag where the attack that must be weaker leaves smaller margins on too many images."""
    return _flag(name, int((weak < strong - subject.wobble).sum()), weak, strong, cause, cure, subject)


def _no_gain(name: str, less: Tensor, more: Tensor, cause: str, cure: str, subject: Subject) -> Flag | None:
    """A flag where the attack that must be stronger leaves margins that are no smaller, on too many images."""
    return _flag(name, int((more >= less).sum()), less, more, cause, cure, subject)


def _flag(name: str, count: int, weak: Tensor, strong: Tensor, cause: str, cure: str, subject: Subject) -> Flag | None:
    if not unlikely(count, subject.n):
        return None
    evidence = {
        "images": subject.n,
        "against": count,
        "allowed": at_least(subject.n) - 1,
        "median_margin_weaker": float(weak.median()),
        "median_margin_stronger": float(strong.median()),
    }
    return Flag(name, cause, cure, evidence)
