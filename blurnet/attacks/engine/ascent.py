"""The one gradient loop: look, keep the best, step, let those go that are done."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from blurnet.attacks.engine.best import Best, Keeper
from blurnet.attacks.engine.climbers import Climber


class Look(NamedTuple):
    """What one pass of the model says of the rows."""

    seen: Tensor  #: what the model was shown, on the way from the variables to its logits
    climbed: Tensor  #: (rows,): what is differentiated
    value: Tensor  #: (rows,): what tells better from worse, of points of equal share
    share: Tensor  #: (rows,): how much of what counts first is won
    kept: Tensor  #: (rows, ...): what is remembered of the best
    done: Tensor | None  #: (images,) bool: who leaves; None: nobody, ever


class Ascent(ABC):
    """What one attack does in the loop; it has a row for each start and image: row ``r images + i``."""

    @abstractmethod
    def look(self, variable: Tensor) -> Look:
        """Show the model what the variables (rows, ...) make of the images."""

    def project(self, variable: Tensor) -> Tensor:
        """The nearest allowed variables."""
        return variable

    @abstractmethod
    def keep(self, rows: Tensor, images: Tensor) -> None:
        """Forget all rows but those at some indices; ``images`` are the same of the images left."""


def climb(ascent: Ascent, variable: Tensor, move: Climber, steps: int, best: Keeper) -> Best:
    """Climb from the variables (rows, ...) for so many steps, or until every image is done; the best points.

    Raises:
        RuntimeError: the model gives no gradient.
    """
    for step in range(steps + 1):
        last = step == steps
        with torch.set_grad_enabled(not last):
            variable = variable.detach().requires_grad_(not last)
            look = ascent.look(variable)
        best.offer(look.kept.detach(), look.share, look.value.detach())
        # The one place of a step that waits for the device.
        stay = None if last or look.done is None else (~look.done).nonzero().squeeze(1)
        if last or (stay is not None and not len(stay)):
            break
        gradient = pixel_gradient(look.climbed.sum(), variable, look.seen)
        variable, value = variable.detach(), look.value.detach()
        if stay is not None and len(stay) < len(best.index):
            starts = torch.arange(len(variable) // len(best.index), device=stay.device)
            rows = (starts[:, None] * len(best.index) + stay).flatten()
            variable, gradient, value = variable[rows], gradient[rows], value[rows]
            ascent.keep(rows, stay)
            move.keep(rows)
            best.keep(stay)
        variable = move.step(variable, gradient, value, ascent.project)
    return best.all()


def pixel_gradient(value: Tensor, variable: Tensor, seen: Tensor, *, keep: bool = False) -> Tensor:
    """The gradient of a scalar in the variable, which must have come through the model's input ``seen``.

    A term beside the model, such as a norm, has a gradient even where the model has none: what it leads to is no
    attack on the model. With ``keep`` the graph stays for another gradient.

    Raises:
        RuntimeError: the model gives no gradient in its pixels. A gradient of zero is one.
    """
    wanted = [variable] if seen is variable else [variable, seen]
    found: tuple[Tensor | None, ...] = (None,)
    if value.requires_grad:
        found = torch.autograd.grad(value, wanted, retain_graph=keep, allow_unused=True)
    gradient, through = found[0], found[-1]
    if gradient is None or through is None:
        raise RuntimeError(
            "the model gives no gradient in the pixels: it runs under no_grad, detaches them, or leaves torch. Attack "
            "it through surrogates of what it cannot differentiate (blurnet.adaptive, or the wrapper BPDA), or by a "
            "search that asks for no gradient (Square, PatchRandomSearch, HardLabel)"
        )
    return gradient
