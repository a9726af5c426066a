"""Evaluation mode, frozen parameters and gradients: set in one way, and put back as they were."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def evaluating(model: Callable[..., Any]) -> Iterator[None]:
    """Every module of a model in evaluation mode; each mode is put back as it was. What is no module is left alone."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [m.training for m in modules]
    try:
        for m in modules:
            m.training = False
        yield
    finally:
        for m, mode in zip(modules, modes, strict=True):
            m.training = mode


@contextmanager
def resting(model: Callable[..., Any]) -> Iterator[None]:
    """Evaluation mode and no gradients, to look at what a model says; all restored after."""
    with evaluating(model), torch.no_grad():
        yield


@contextmanager
def attacking(model: Callable[..., Any]) -> Iterator[None]:
    """Gradients on, inference mode off, module in evaluation mode with frozen parameters; all restored after.

    Frozen parameters spare the backward pass the gradients that no attack uses.
    """
    parameters = list(model.parameters()) if isinstance(model, nn.Module) else []
    wanted = [p.requires_grad for p in parameters]
    try:
        for p in parameters:
            p.requires_grad_(False)
        with evaluating(model), torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for p, grad in zip(parameters, wanted, strict=True):
            p.requires_grad_(grad)
