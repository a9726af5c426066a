"""Can a robustness figure be trusted? Checks for masked gradients, each with its cause and what to do.

:func:`check` runs them all; each is also a function of its own that takes a
:class:`~blurnet.evaluation.sanity.subject.Subject`.

Source: Carlini et al. 2019 (On evaluating adversarial robustness), the checklist; Athalye et al. 2018 (Obfuscated
gradients), section 3.1; the flags of AutoAttack.
"""

from collections.abc import Callable

from torch import Tensor

from blurnet.attacks.engine.asking import Model
from blurnet.balls import Ball
from blurnet.evaluation.sanity.attack_checks import (
    black_box_beats_gradient,
    budget_does_not_help,
    noise_beats_gradient,
    single_step_beats_iterative,
    steps_do_not_help,
    transfer_beats_gradient,
    unbounded_falls_short,
)
from blurnet.evaluation.sanity.flags import Flag
from blurnet.evaluation.sanity.model_checks import (
    optimises_inside,
    probabilities,
    random_model,
    vanishing_gradient,
    zero_gradient,
)
from blurnet.evaluation.sanity.subject import BALL, Subject
from blurnet.masks import Place
from blurnet.modes import attacking

#: The checks by the name of the flag that each raises.
CHECKS: dict[str, Callable[[Subject], Flag | None]] = {
    "probabilities": probabilities,
    "random-model": random_model,
    "optimises-inside": optimises_inside,
    "zero-gradient": zero_gradient,
    "vanishing-gradient": vanishing_gradient,
    "single-step-beats-iterative": single_step_beats_iterative,
    "steps-do-not-help": steps_do_not_help,
    "budget-does-not-help": budget_does_not_help,
    "noise-beats-gradient": noise_beats_gradient,
    "black-box-beats-gradient": black_box_beats_gradient,
    "transfer-beats-gradient": transfer_beats_gradient,
    "unbounded-falls-short": unbounded_falls_short,
}


def check(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    mask: Tensor | Place | None = None,
    seed: int = 0,
    source: Model | None = None,
    steps: int = 30,
    ball: Ball = BALL,
) -> tuple[Flag, ...]:
    """All checks of :data:`CHECKS` on the first 32 images that the model answers correctly.

    A few hundred passes over these images. Each comparison of two attacks counts the images on which it comes out
    the wrong way, and raises a flag where the count would be less likely than 0.1 % if it were wrong on a tenth of
    all images (:func:`~blurnet.evaluation.sanity.flags.unlikely`); with few images only gross faults are seen, so give
    16 or more. The flags are hints to look into, not proofs; none raised is no proof either.

    Args:
        model: images in [0, 1] to logits, as the attacks see it: :func:`blurnet.adaptive` of a defended net.
        images: (N, 3, H, W) in [0, 1].
        labels: true classes (N,).
        mask: where the evaluated attack may write: a mask or a :class:`~blurnet.masks.Place`; None: the whole image,
            within ``ball``.
        seed: of every draw.
        source: another net with the same classes, such as the undefended one, for the check of transfer.
        steps: of the gradient attacks, at least 4.
        ball: the budget of attacks on the whole image; without meaning with a mask.

    Returns:
        The flags raised, in the order of :data:`CHECKS`; empty for a net whose gradients can be trusted.

    Raises:
        ValueError, TypeError: bad input, or no image that is answered correctly.
    """
    with attacking(model):
        subject = Subject.of(model, images, labels, mask=mask, ball=ball, steps=steps, seed=seed, source=source)
        found = [one(subject) for one in CHECKS.values()]
    return tuple(flag for flag in found if flag is not None)
