"""Optimizers and learning-rate schedules by name."""

import math
from collections.abc import Iterable
from typing import Literal

from torch import nn, optim
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR

from blurnet.checks import one_of

OptimizerName = Literal["sgd", "adam", "adadelta"]
ScheduleName = Literal["one-cycle", "cosine", "constant"]


def make_optimizer(
    name: OptimizerName,
    parameters: Iterable[nn.Parameter],
    *,
    lr: float,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
) -> optim.Optimizer:
    """The optimizer called ``name`` over ``parameters``.

    "sgd" is Nesterov's form where ``momentum`` is above 0; in "adam" ``momentum`` is beta 1; "adadelta" has rho 0.95
    and eps 1e-8 as in the RP2 authors' training graph, and no momentum.

    Raises:
        ValueError: unknown name, or a value the optimizer refuses.
    """
    one_of(name, OptimizerName, "optimizer")
    if name == "sgd":
        return optim.SGD(parameters, lr, momentum, weight_decay=weight_decay, nesterov=momentum > 0)
    if name == "adam":
        return optim.Adam(parameters, lr, (momentum, 0.999), weight_decay=weight_decay)
    return optim.Adadelta(parameters, lr, rho=0.95, eps=1e-8, weight_decay=weight_decay)


def make_schedule(
    name: ScheduleName, optimizer: optim.Optimizer, steps: int, warmup: float = 0.0
) -> LRScheduler | None:
    """The schedule called ``name`` over ``steps`` optimizer steps, to be stepped after each; None for "constant".

    "one-cycle" rises to the optimizer's lr over the first 30 % and anneals to almost 0 (momentum is left alone);
    "cosine" starts at lr, or with ``warmup`` rises to it in equal steps over that share of all, and falls to 0.

    Raises:
        ValueError: unknown name, no positive number of steps, or a warm-up that the schedule cannot have.
    """
    one_of(name, ScheduleName, "schedule")
    check_warmup(name, warmup)
    if name == "constant":
        return None
    if steps < 1:
        raise ValueError(f"schedule {name!r} needs the number of steps, got {steps}; set trainer.max_epochs")
    if name == "one-cycle":
        rates = [group["lr"] for group in optimizer.param_groups]
        return OneCycleLR(optimizer, rates, total_steps=steps, cycle_momentum=False)
    rising = round(warmup * steps)
    if rising:
        return LambdaLR(optimizer, lambda step: _warm_cosine(step, rising, steps))
    return CosineAnnealingLR(optimizer, T_max=steps)


def check_warmup(name: ScheduleName, warmup: float) -> float:
    """Require a share in [0, 1), and 0 but for "cosine"; returns it. ValueError otherwise."""
    if not 0 <= warmup < 1 or (warmup and name != "cosine"):
        raise ValueError(f"warmup: expected a share in [0, 1), above 0 with schedule cosine only, got {warmup!r}")
    return warmup


def _warm_cosine(step: int, rising: int, steps: int) -> float:
    """Share of the full rate at a step, counted from 0."""
    if step < rising:
        return (step + 1) / rising
    return (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising))) / 2
