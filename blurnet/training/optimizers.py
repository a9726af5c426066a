"""Optimizers and learning-rate schedules by name."""

from collections.abc import Iterable
from typing import Literal

from torch import nn, optim
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

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
    if name == "sgd":
        return optim.SGD(parameters, lr, momentum, weight_decay=weight_decay, nesterov=momentum > 0)
    if name == "adam":
        return optim.Adam(parameters, lr, (momentum, 0.999), weight_decay=weight_decay)
    if name == "adadelta":
        return optim.Adadelta(parameters, lr, rho=0.95, eps=1e-8, weight_decay=weight_decay)
    raise ValueError(f"optimizer: expected sgd, adam or adadelta, got {name!r}")


def make_schedule(name: ScheduleName, optimizer: optim.Optimizer, steps: int) -> LRScheduler | None:
    """The schedule called ``name`` over ``steps`` optimizer steps, to be stepped after each; None for "constant".

    "one-cycle" rises to the optimizer's lr over the first 30 % and anneals to almost 0 (momentum is left alone);
    "cosine" starts at lr.

    Raises:
        ValueError: unknown name, or no positive number of steps.
    """
    if name == "constant":
        return None
    if steps < 1:
        raise ValueError(f"schedule {name!r} needs the number of steps, got {steps}; set trainer.max_epochs")
    if name == "one-cycle":
        rates = [group["lr"] for group in optimizer.param_groups]
        return OneCycleLR(optimizer, rates, total_steps=steps, cycle_momentum=False)
    if name == "cosine":
        return CosineAnnealingLR(optimizer, T_max=steps)
    raise ValueError(f"schedule: expected one-cycle, cosine or constant, got {name!r}")
