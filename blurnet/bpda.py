"""Backward pass differentiable approximation: the numbers of one tensor, the gradient of another."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class _Bpda(torch.autograd.Function):
    """The first argument in the forward pass, the second in the backward pass."""

    @staticmethod
    def forward(value: Tensor, surrogate: Tensor) -> Tensor:
        """Give a view: an input returned as it is would be marked as changed."""
        return value.view_as(value)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing to keep."""

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[None, Tensor]:
        """All of the gradient to the surrogate."""
        return None, gradients[0]


def bpda(value: Tensor, surrogate: Tensor) -> Tensor:
    """The numbers of ``value``, bit for bit, with the gradient of ``surrogate``.

    With an identity as surrogate it is the straight-through estimator.

    Args:
        value: any tensor; no gradient flows into it.
        surrogate: of the same shape and on the same device; its dtype may differ.

    Returns:
        A tensor that shares the memory of ``value`` where no gradient is recorded: do not write into it.

    Raises:
        ValueError: shapes or devices differ.

    Source: Athalye et al. 2018, "Obfuscated gradients give a false sense of security", section 4.1.
    """
    if value.shape != surrogate.shape or value.device != surrogate.device:
        raise ValueError(
            f"bpda: expected a surrogate like the value, {tuple(value.shape)} on {value.device}, "
            f"got {tuple(surrogate.shape)} on {surrogate.device}"
        )
    result: Tensor = _Bpda.apply(value.detach(), surrogate.to(value.dtype))
    return result


class _Pullback(torch.autograd.Function):
    """The value; in the backward pass, whatever a function makes of its gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, x: Tensor, pullback: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Keep what the backward pass needs."""
        ctx.save_for_backward(x)
        ctx.pullback = pullback
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Ask the function."""
        (x,) = ctx.saved_tensors
        return None, ctx.pullback(x, gradients[0]), None


def with_pullback(value: Tensor, x: Tensor, pullback: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The numbers of ``value``, with a gradient in ``x`` that a function computes when it is asked for.

    As :func:`bpda`, for a surrogate that is too large to keep: ``pullback`` may go through it piece by piece.

    Args:
        value: any tensor; no gradient flows into it.
        x: what the gradient is taken in.
        pullback: (x, gradient in ``value``) to the gradient in ``x``, of the shape of ``x``. It may be called several
            times, and on another thread.

    Returns:
        A tensor that shares the memory of ``value``: do not write into it.
    """
    result: Tensor = _Pullback.apply(value.detach(), x, pullback)
    return result
