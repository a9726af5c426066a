"""How a masked attack moves uphill: sign steps, Adam, or steps that set their own size; each row for itself."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from blurnet.checks import one_of

Optimizer = Literal["sign", "adam", "auto"]

#: Variables (rows, ...) to the nearest allowed ones.
Projection = Callable[[Tensor], Tensor]


class Climber(ABC):
    """State of an ascent on variables (rows, ...); no row's path depends on the others."""

    @abstractmethod
    def step(self, variable: Tensor, gradient: Tensor, value: Tensor, project: Projection) -> Tensor:
        """The next variables, from those at which ``value`` (rows,) and ``gradient`` were taken."""

    @abstractmethod
    def keep(self, rows: Tensor) -> None:
        """Forget all rows but those where ``rows`` is true."""


def climber(name: Optimizer, lr: float, steps: int) -> Climber:
    """The climber called ``name``, of step ``lr`` where it needs one, for an ascent of ``steps`` steps.

    Raises:
        ValueError: unknown; the message lists what exists.
    """
    if one_of(name, Optimizer, "optimizer") == "auto":
        return Auto(steps)
    return Adam(lr) if name == "adam" else Sign(lr)


class Sign(Climber):
    """``lr`` times the gradient's sign."""

    def __init__(self, lr: float) -> None:
        self.lr = lr

    def step(self, variable: Tensor, gradient: Tensor, value: Tensor, project: Projection) -> Tensor:
        """See :meth:`Climber.step`."""
        return project(variable + self.lr * gradient.sign())

    def keep(self, rows: Tensor) -> None:
        """Nothing is remembered."""


class Gradient(Climber):
    """``lr`` times the gradient itself."""

    def __init__(self, lr: float) -> None:
        self.lr = lr

    def step(self, variable: Tensor, gradient: Tensor, value: Tensor, project: Projection) -> Tensor:
        """See :meth:`Climber.step`."""
        return project(variable + self.lr * gradient)

    def keep(self, rows: Tensor) -> None:
        """Nothing is remembered."""


class Adam(Climber):
    """Adam uphill with its usual decays, 0.9 and 0.999 (Kingma and Ba 2015, Algorithm 1)."""

    def __init__(self, lr: float) -> None:
        self.lr, self.time = lr, 0
        self.mean = self.square = torch.empty(0)

    def step(self, variable: Tensor, gradient: Tensor, value: Tensor, project: Projection) -> Tensor:
        """See :meth:`Climber.step`."""
        if self.time == 0:
            self.mean, self.square = torch.zeros_like(variable), torch.zeros_like(variable)
        self.time += 1
        self.mean = torch.lerp(self.mean, gradient, 0.1)
        self.square = torch.lerp(self.square, gradient.square(), 0.001)
        deviation = (self.square / (1 - 0.999**self.time)).sqrt() + 1e-8
        return project(variable + self.lr / (1 - 0.9**self.time) * self.mean / deviation)

    def keep(self, rows: Tensor) -> None:
        """See :meth:`Climber.keep`."""
        if self.time:
            self.mean, self.square = self.mean[rows], self.square[rows]


class Descent(Climber):
    """One of torch's optimizers, which go down: state and rounding are its own.

    Args:
        kind: such as ``torch.optim.Adam``.
        lr: its step size.
    """

    def __init__(self, kind: Callable[..., torch.optim.Optimizer], lr: float) -> None:
        self.kind, self.lr = kind, lr
        self.optimizer: torch.optim.Optimizer | None = None
        self.parameter = torch.empty(0)

    def step(self, variable: Tensor, gradient: Tensor, value: Tensor, project: Projection) -> Tensor:
        """See :meth:`Climber.step`."""
        if self.optimizer is None:
            self.parameter = variable.detach().clone().requires_grad_()
            self.optimizer = self.kind([self.parameter], lr=self.lr)
        with torch.no_grad():
            self.parameter.copy_(variable)
            self.parameter.grad = -gradient
            self.optimizer.step()
            return project(self.parameter.detach().clone())

    def keep(self, rows: Tensor) -> None:
        """Raise: its state is not for rows that leave."""
        raise NotImplementedError("Descent: rows cannot leave")


class Momentum(Climber):
    """The sign of a decaying sum of gradients, by steps that shrink evenly from ``first`` towards nothing.

    Each gradient is divided by its mean magnitude before it is added, and the sum decays by 0.9 a step.

    Args:
        steps: of the whole ascent.
        first: size of the first step.

    Source: Dong et al. 2018, "Boosting adversarial attacks with momentum", Algorithm 1; the shrinking steps are this
    package's own.
    """

    def __init__(self, steps: int, first: float = 0.5) -> None:
        self.steps, self.first, self.time = steps, first, 0
        self.sum = torch.empty(0)

    def step(self, variable: Tensor, gradient: Tensor, value: Tensor, project: Projection) -> Tensor:
        """See :meth:`Climber.step`."""
        scale = gradient.flatten(1).abs().mean(dim=1).clamp(min=torch.finfo(gradient.dtype).tiny)
        gradient = gradient / _column(scale, gradient)
        self.sum = gradient if self.time == 0 else 0.9 * self.sum + gradient
        size = self.first * (1 - self.time / self.steps)
        self.time += 1
        return project(variable + size * self.sum.sign())

    def keep(self, rows: Tensor) -> None:
        """See :meth:`Climber.keep`."""
        if self.time:
            self.sum = self.sum[rows]


class Auto(Climber):
    """Sign steps with momentum that halve their size at checkpoints where progress stalls, and return to the best.

    APGD, adapted to a patch that may take any value in [0, 1]: the first step crosses the whole range (APGD's twice
    the radius, with radius 1/2), and a row that returns to its best point starts there without momentum. A row
    halves its step where fewer than 3/4 of the steps since the last checkpoint went up, or where neither step size
    nor best value changed between two checkpoints.

    Args:
        steps: of the whole ascent; the checkpoints are shares of it.
        first: size of the first step.

    Source: Croce and Hein 2020, section 3 and Algorithm 1.
    """

    def __init__(self, steps: int, first: float = 1.0) -> None:
        self.checkpoints, self.first, self.time = checkpoints(steps), first, 0
        self.last_checkpoint = 0
        self.rows: dict[str, Tensor] = {}

    def step(self, variable: Tensor, gradient: Tensor, value: Tensor, project: Projection) -> Tensor:
        """See :meth:`Climber.step`."""
        if self.time == 0:
            self._begin(variable, gradient, value)
        self._note(variable, gradient, value)
        if self.time in self.checkpoints:
            variable, gradient = self._check(variable, gradient)
        rows = self.rows
        size = _column(rows["size"], variable)
        aim = project(variable + size * gradient.sign())
        # The first step has nothing to keep its course from.
        turn = 0.75 if self.time else 1.0
        moved = project(variable + turn * (aim - variable) + (1 - turn) * (variable - rows["previous"]))
        rows["previous"] = variable
        self.time += 1
        return moved

    def keep(self, rows: Tensor) -> None:
        """See :meth:`Climber.keep`."""
        self.rows = {name: state[rows] for name, state in self.rows.items()}

    def _begin(self, variable: Tensor, gradient: Tensor, value: Tensor) -> None:
        self.rows = {
            "size": torch.full_like(value, self.first),
            "previous": variable,
            "best": variable,
            "best_gradient": gradient,
            "best_value": value,
            "checked_value": value,
            "last_value": value,
            "gains": torch.zeros_like(value),
            "halved": torch.zeros_like(value, dtype=torch.bool),
        }

    def _note(self, variable: Tensor, gradient: Tensor, value: Tensor) -> None:
        """Count a step that went up, and remember a point that is the best so far."""
        rows = self.rows
        rows["gains"] = rows["gains"] + (value > rows["last_value"])
        rows["last_value"] = value
        better = value > rows["best_value"]
        rows["best_value"] = torch.where(better, value, rows["best_value"])
        rows["best"] = torch.where(_column(better, variable), variable, rows["best"])
        rows["best_gradient"] = torch.where(_column(better, variable), gradient, rows["best_gradient"])

    def _check(self, variable: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """At a checkpoint: halve the step of the rows that stall and take them back to their best point."""
        rows = self.rows
        few = rows["gains"] < 0.75 * (self.time - self.last_checkpoint)
        stuck = ~rows["halved"] & (rows["best_value"] == rows["checked_value"])
        halve = few | stuck
        rows["size"] = torch.where(halve, rows["size"] / 2, rows["size"])
        rows["halved"], rows["checked_value"] = halve, rows["best_value"]
        rows["gains"], self.last_checkpoint = torch.zeros_like(rows["gains"]), self.time
        back = _column(halve, variable)
        rows["previous"] = torch.where(back, rows["best"], rows["previous"])
        rows["last_value"] = torch.where(halve, rows["best_value"], rows["last_value"])
        return torch.where(back, rows["best"], variable), torch.where(back, rows["best_gradient"], gradient)


def checkpoints(steps: int) -> set[int]:
    """After how many steps progress is looked at: at 22 % of them, then at ever shorter intervals down to 6 %.

    Source: Croce and Hein 2020, section 3.1: p_(j+1) = p_j + max(p_j - p_(j-1) - 0.03, 0.06).
    """
    shares, gap = [0.22], 0.22
    while shares[-1] < 1:
        gap = max(gap - 0.03, 0.06)
        shares.append(shares[-1] + gap)
    # Rounded: 0.22 + 0.19 is not 0.41.
    return {math.ceil(round(share * steps, 6)) for share in shares if share < 1}


def _column(values: Tensor, like: Tensor) -> Tensor:
    """(rows,) as (rows, 1, ...), to broadcast over ``like``."""
    return values.view(-1, *[1] * (like.ndim - 1))
