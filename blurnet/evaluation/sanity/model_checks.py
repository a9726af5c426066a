"""Sanity checks that look at the model itself: its outputs, its randomness, its gradients, what it does inside."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from blurnet.evaluation.sanity.flags import Flag, unlikely
from blurnet.evaluation.sanity.subject import ROUNDING, SAMPLES, Subject

#: A cross-entropy gradient below this share of the margin's is lost in float32, which ends at 1e-38.
VANISHED = 1e-30


def probabilities(subject: Subject) -> Flag | None:
    """Whether the outputs are probabilities: from 0, with sum 1 in every row (to 1e-3)."""
    with torch.no_grad():
        outputs = subject.model(subject.images)
    sums = outputs.sum(dim=1)
    if bool((outputs < 0).any()) or bool(((sums - 1).abs() > 1e-3).any()):
        return None
    return Flag(
        "probabilities",
        "The model gives probabilities, not logits: losses take a second softmax, and margins fade where it is sure.",
        "Return the values before the softmax.",
        {"smallest": float(outputs.min()), "row_sums": [float(sums.min()), float(sums.max())]},
    )


def random_model(subject: Subject) -> Flag | None:
    """Whether three passes over the same batch differ by more than rounding (1e-3 of the largest logit)."""
    if subject.spread <= ROUNDING:
        return None
    return Flag(
        "random-model",
        "The model's answers to the same images differ from pass to pass: a single gradient is one noisy draw.",
        f"Attack the mean of many passes (EOT), and judge by many too; the other checks here saw means of {SAMPLES}.",
        {"difference": subject.spread, "allowed": ROUNDING},
    )


def zero_gradient(subject: Subject) -> Flag | None:
    """Whether the margin's gradient is missing, or exactly zero where an attacker may write."""
    zero = int((subject.gradient("margin") == 0).sum())
    if not subject.trouble and not unlikely(zero, subject.n):
        return None
    return Flag(
        "zero-gradient",
        "The logit margin has no gradient in the pixels: rounding, a threshold, or a step that is detached or not "
        "differentiable. Gradient attacks stand still, which says nothing about robustness.",
        "Attack through a differentiable stand-in (blurnet.adaptive, BPDA), and without gradients (random search).",
        {"images": subject.n, "zero": zero, **({"error": subject.trouble} if subject.trouble else {})},
    )


def vanishing_gradient(subject: Subject) -> Flag | None:
    """Whether the cross-entropy's gradient is lost in float32 where the margin's is not."""
    margin, entropy = subject.gradient("margin"), subject.gradient("cross-entropy")
    lost = (margin > 0) & (entropy <= VANISHED * margin)
    count = int(lost.sum())
    if not unlikely(count, subject.n):
        return None
    return Flag(
        "vanishing-gradient",
        "The logits are so far apart that the softmax is exactly one: the gradient of the cross-entropy vanishes.",
        "Attack the logit margin, or divide the logits by a constant; answers stay the same.",
        {"images": subject.n, "lost": count, "share_of_margin_gradient": float((entropy / margin)[lost].max())},
    )


def optimises_inside(subject: Subject) -> Flag | None:
    """Whether a forward pass runs a backward pass of its own, or changes the model's parameters or buffers.

    The pass runs without gradients, so that a tensor with a gradient comes from the model's own doing; a hook on each
    such tensor tells when a backward pass reaches it, whichever function started it.
    """
    before, watch = _state(subject.model), _Watch()
    with torch.no_grad(), watch:
        subject.model(subject.images[:2])
    changed = [name for name, value in _state(subject.model).items() if not torch.equal(value, before[name])]
    if not watch.backward and not changed:
        return None
    return Flag(
        "optimises-inside",
        "The model runs an optimisation in its forward pass, which gradients from outside do not follow.",
        "Attack through a stand-in for it (BPDA with the identity, or a few unrolled steps), by transfer from the net "
        "without it, and without gradients.",
        {"backward_steps": watch.backward, "changed": changed},
    )


class _Watch(TorchFunctionMode):
    """Counts how often a backward pass reaches a tensor that was made while this mode is on."""

    def __init__(self) -> None:
        super().__init__()
        self.backward = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if torch.is_grad_enabled() and isinstance(result, Tensor) and result.grad_fn is not None:
            result.register_hook(self._reached)  # type: ignore[no-untyped-call]
        return result

    def _reached(self, gradient: Tensor) -> None:
        self.backward += 1


def _state(model: object) -> dict[str, Tensor]:
    """Copies of all parameters and buffers, also of those outside the state dict."""
    if not isinstance(model, nn.Module):
        return {}
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: value.detach().clone() for name, value in named}
