"""What all named attacks of one evaluation share: where they may write, how hard they try, from which seed."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from blurnet.balls import Ball
from blurnet.bounds import Count
from blurnet.evaluation.config import Budget
from blurnet.evaluation.threats import InMask, SquarePatch, Threat
from blurnet.masks import Place
from blurnet.strict import check_fields

#: Gradient steps and model calls of gradient-free search that a budget allows, where ``steps`` gives no number.
STEPS: dict[Budget, int] = {"quick": 50, "standard": 200, "full": 1000}
QUERIES: dict[Budget, int] = {"quick": 300, "standard": 2000, "full": 10000}


@dataclass(frozen=True)
class Context:
    """What all attacks of one evaluation share.

    Args:
        area: share of the image that a square patch, free to be placed, covers; None where there is a mask.
        mask: (1, 1, H, W), the only place an attack may write to; None where there is an area.
        mask_name: how reports call the mask.
        budget: how hard to try.
        steps: gradient steps (queries, of gradient-free attacks); None: by the budget.
        eps: radius of the linf ball for attacks on the whole image, in pixel units.
        restarts: independent starts, of attacks that have such.
        seed: of every attack.
        source: another model, better an undefended one, for transfer; used by attacks that know how.
        source_name: how reports call it.
        held_out: images (M, 3, H, W) and labels (M,) that are not attacked, on which the universal patch is made.
        held_out_name: how reports call them.
        views: other callables with the model's values and another gradient, used by attacks that know how.

    Raises:
        ValueError: neither or both of area and mask, or a number out of range.
    """

    area: float | None = 0.05
    mask: Tensor | None = field(default=None, repr=False, compare=False)
    mask_name: str = ""
    budget: Budget = "standard"
    steps: Count | None = None
    eps: float = 8 / 255
    restarts: Count = 1
    seed: int = 0
    source: nn.Module | None = field(default=None, repr=False)
    source_name: str = ""
    held_out: tuple[Tensor, Tensor] | None = field(default=None, repr=False, compare=False)
    held_out_name: str = ""
    views: tuple[nn.Module, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if (self.area is None) == (self.mask is None):
            raise ValueError("give an area or a mask, one of them")
        check_fields(self, "evaluation")
        if not 0 < self.eps <= 1:
            raise ValueError(f"eps: expected a radius above 0 and at most 1, such as 8/255, got {self.eps!r}")

    @property
    def gradient_steps(self) -> int:
        """Steps of the gradient attacks."""
        return STEPS[self.budget] if self.steps is None else self.steps

    @property
    def queries(self) -> int:
        """Model calls of the gradient-free attacks."""
        return QUERIES[self.budget] if self.steps is None else self.steps

    @property
    def ball(self) -> Ball:
        """What attacks on the whole image may change."""
        return Ball("linf", self.eps)

    @property
    def patch(self) -> Threat:
        """What attacks with a patch may change."""
        if self.area is not None:
            return SquarePatch(self.area)
        if self.mask is None:
            raise ValueError("neither an area nor a mask")
        return InMask(self.mask_name, self.mask)

    def where(self) -> Tensor | Place:
        """The mask, or a random place on the border of each image, as in the protocol of LGS's paper."""
        if self.area is None and self.mask is not None:
            return self.mask
        return Place(self.area if self.area is not None else 1.0, "border", self.seed)

    def free_or_masked(self) -> dict[str, Any]:
        """The arguments of attacks that take an area or a mask."""
        return {"mask": self.mask} if self.area is None else {"area": self.area}
