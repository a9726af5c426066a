"""Penalties that live in the net: modules a training loop asks for their value after the forward pass."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from blurnet.bounds import NotNegative, Odd
from blurnet.checks import check_odd, one_of
from blurnet.filters import total_variation
from blurnet.settings import Settings, WithSettings, takes

Operator = Literal["hf", "diff", "pinv"]


@dataclass(frozen=True)
class PenaltySettings(Settings):
    """Of a penalty.

    Args:
        alpha: its weight, 0 and up; BlurNet reports 1e-4 and 1e-5 for total variation.
    """

    alpha: NotNegative


@dataclass(frozen=True)
class TikhonovSettings(PenaltySettings):
    """Of :class:`Tikhonov`: the weight ``alpha`` and two more.

    Args:
        operator: "hf", "diff" or "pinv"; see :func:`tikhonov_matrix`.
        window: odd length of the moving average, in pixels.
    """

    operator: Operator = "hf"
    window: Odd = 3


class Penalty(WithSettings, nn.Module, ABC):
    """A module with a differentiable scalar ``penalty()`` to be added to the loss.

    Raises:
        TypeError, ValueError: another weight ``alpha`` than a finite number from 0.
    """

    alpha: float

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = float(PenaltySettings(alpha).alpha)

    @abstractmethod
    def penalty(self) -> Tensor | None:
        """The value for the last training forward, a scalar; None where there was none since the last reading."""


class MapPenalty(Penalty):
    """Identity that, while training, keeps a penalty of the maps that pass through it.

    Reading clears: the kept value holds the graph, and a module that holds a graph cannot be deep-copied.
    """

    def __init__(self, alpha: float) -> None:
        super().__init__(alpha)
        self._value: Tensor | None = None

    @abstractmethod
    def measure(self, maps: Tensor) -> Tensor:
        """The penalty of maps (N, K, H, W), a scalar, weight included."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` (N, K, H, W) itself."""
        self._value = None
        if self.training and self.alpha > 0 and torch.is_grad_enabled():
            # Sums over pixels leave the range of half precision, so they are taken in float32 under autocast too.
            with torch.autocast(x.device.type, enabled=False):
                self._value = self.measure(x.float() if x.dtype in (torch.float16, torch.bfloat16) else x)
        return x

    def penalty(self) -> Tensor | None:
        """The penalty of the last training forward, cleared by this reading."""
        value, self._value = self._value, None
        return value


class TotalVariation(MapPenalty):
    """Penalise neighbouring values that differ: see :func:`blurnet.filters.total_variation`; forward is the identity.

    Args:
        settings: the field of :class:`PenaltySettings`, as an argument.

    Source: Raju & Lipasti, BlurNet. One slide speaks of the first layer's weights; its formula and its reasoning
    penalise the feature maps, which is what this does.
    """

    @takes(PenaltySettings)
    def __init__(self, settings: PenaltySettings) -> None:
        super().__init__(settings.alpha)
        self.settings = settings

    def measure(self, maps: Tensor) -> Tensor:
        """``alpha / (N K) * sum TV`` of maps (N, K, H, W)."""
        return self.alpha * total_variation(maps).mean()


class Tikhonov(MapPenalty):
    """Penalise the energy of ``L F`` and ``F L^T``: see :func:`tikhonov`; forward is the identity.

    Args:
        settings: the fields of :class:`TikhonovSettings`, as arguments of their own.
    """

    @takes(TikhonovSettings)
    def __init__(self, settings: TikhonovSettings) -> None:
        super().__init__(settings.alpha)
        self.settings = settings

    def measure(self, maps: Tensor) -> Tensor:
        """``alpha / (N K) * sum (||L F||² + ||F L^T||²)`` of maps (N, K, H, W)."""
        return self.alpha * tikhonov(maps, self.settings.operator, self.settings.window).mean()


def tikhonov(maps: Tensor, operator: Operator = "hf", window: int = 3) -> Tensor:
    """``||L F||² + ||F L^T||²`` of each map F, the operator acting on its columns and on its rows.

    Args:
        maps: (..., H, W).
        operator: see :func:`tikhonov_matrix`.
        window: odd length of the moving average, in pixels.

    Returns:
        (...), sums over pixels.
    """
    down, across = (tikhonov_matrix(size, operator, window).to(maps.device, maps.dtype) for size in maps.shape[-2:])
    return (down @ maps).square().sum(dim=(-2, -1)) + (maps @ across.mT).square().sum(dim=(-2, -1))


def tikhonov_matrix(size: int, operator: Operator = "hf", window: int = 3) -> Tensor:
    """The operator L, (size, size) ((size - 1, size) for "diff"), in float64.

    "hf" is I - L_avg, with L_avg the moving average over ``window`` pixels (at the border over those that exist);
    "diff" is the forward difference; "pinv" the Moore-Penrose pseudo-inverse of L_avg, which amplifies what the
    average suppresses. BlurNet's arXiv text names a high-frequency and a pseudo-inverse operator without a matrix
    that could be checked here: these matrices are our reading.

    Raises:
        ValueError: unknown operator, or ``window`` even or not positive.
    """
    one_of(operator, Operator, "operator")
    check_odd(window, "window")
    eye = torch.eye(size, dtype=torch.float64)
    if operator == "diff":
        return eye.diff(dim=0)
    index = torch.arange(size)
    near = ((index[:, None] - index).abs() <= window // 2).double()
    average = near / near.sum(dim=1, keepdim=True)
    return eye - average if operator == "hf" else torch.linalg.pinv(average)


def penalties(net: nn.Module) -> dict[str, Tensor]:
    """The penalties of a net after a training forward, by module name; reading clears those of feature maps.

    Add their sum to the loss: ``loss = cross_entropy(net(x), y) + sum(penalties(net).values())``.
    """
    found: dict[str, Tensor] = {}
    for name, module in net.named_modules():
        if isinstance(module, Penalty) and module.alpha > 0:
            value = module.penalty()
            if value is not None:
                found[name] = value
    return found
