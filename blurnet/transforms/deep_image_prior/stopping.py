"""When to stop drawing: rules that need no label, each of which keeps the best output so far of every image.

A rule is a value; :meth:`Rule.watch` gives the watcher of one run, which is shown every output. Several may watch one.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.bounds import Bounds, Count, Positive
from blurnet.settings import Settings

StopName = Literal["fixed", "es-wmv", "es-emv", "psnr"]

#: Of the authors' 5000 iterations they wait 1000 for a new minimum, and look back over 100.
_PATIENCE, _WINDOW = 5, 50


class Watcher(ABC):
    """What one rule has seen of one run.

    Args:
        target: the images (N, C, H, W) that are drawn.
    """

    def __init__(self, target: Tensor) -> None:
        self.best = torch.zeros_like(target)  #: (N, C, H, W): what the rule gives back
        self.at = torch.zeros(len(target), dtype=torch.int64, device=target.device)  #: (N,): its iteration
        self.done = torch.zeros(len(target), dtype=torch.bool, device=target.device)  #: (N,): nothing will change

    @abstractmethod
    def see(self, iteration: int, output: Tensor, average: Tensor) -> None:
        """Look at the outputs (N, C, H, W) of an iteration, counted from 1, and at their average so far."""

    def keep(self, better: Tensor, iteration: int, average: Tensor) -> None:
        """Take the average where ``better`` (N,) says so, and nothing is decided."""
        better = better & ~self.done
        if better.is_cpu and not better.any():  # on a GPU asking would wait for it
            return
        self.best = torch.where(better[:, None, None, None], average, self.best)
        self.at = torch.where(better, iteration, self.at)


class Rule(Settings):
    """A stopping rule: a frozen dataclass of its settings."""

    @abstractmethod
    def watch(self, target: Tensor, iterations: int) -> Watcher:
        """A watcher of a run of so many iterations at most, on images (N, C, H, W)."""


@dataclass(frozen=True)
class Fixed(Rule):
    """The last output; the poster of Deep Protection takes it at 1750 iterations."""

    def watch(self, target: Tensor, iterations: int) -> Watcher:
        """See :class:`Rule`."""
        return _Last(target, iterations)


@dataclass(frozen=True)
class Snapshots(Rule):
    """No rule but a look: the outputs at some iterations, in :attr:`SnapshotWatcher.taken`.

    Args:
        at: iterations, from 1, rising.
    """

    at: tuple[Count, ...]

    def watch(self, target: Tensor, iterations: int) -> "SnapshotWatcher":
        """See :class:`Rule`."""
        return SnapshotWatcher(target, self.at)


@dataclass(frozen=True)
class WindowedVariance(Rule):
    """ES-WMV: the output where the variance of the last outputs is smallest.

    Args:
        window: outputs; None: a fiftieth of the budget, as the authors' 100 of 5000. All of them are kept: memory grows
            with it.
        patience: iterations without a new minimum before an image is done; None: a fifth of the budget.

    Source: Wang et al. 2023, "Early Stopping for Deep Image Prior", Algorithm 1.
    """

    window: Annotated[int, Bounds("from 2", 2)] | None = None
    patience: Count | None = None

    def watch(self, target: Tensor, iterations: int) -> Watcher:
        """See :class:`Rule`."""
        window = self.window or max(2, iterations // _WINDOW)
        return _Windowed(target, window, _patience(self.patience, iterations))


@dataclass(frozen=True)
class MovingVariance(Rule):
    """ES-EMV: as :class:`WindowedVariance` with moving averages in place of the window, in constant memory.

    Args:
        rate: of the moving average and variance.
        patience: as there.

    Source: Wang et al. 2023, the variant of its appendix; the first ``2 / rate`` iterations, in which the variance
        grows from 0, are not judged.
    """

    rate: Annotated[float, Bounds("in (0, 1)", 0, 1 - 1e-9, open=True)] = 0.1
    patience: Count | None = None

    def watch(self, target: Tensor, iterations: int) -> Watcher:
        """See :class:`Rule`."""
        return _Moving(target, self.rate, _patience(self.patience, iterations))


@dataclass(frozen=True)
class SmoothedPSNR(Rule):
    """DIPDefend: the output where the twice smoothed PSNR of the worst block is highest; it runs to the end.

    The trend begins at 0. A port of the paper begins with the first difference, which at this rate outlives hundreds of
    iterations: where it is negative the first output stays the best.

    Args:
        rate: of both smoothings.
        block: side in pixels; None: 32, and a quarter of the shorter side of images below 128 pixels.

    Source: Dai et al. 2020, "DIPDefend".
    """

    rate: Positive = 0.002
    block: Count | None = None

    def watch(self, target: Tensor, iterations: int) -> Watcher:
        """See :class:`Rule`."""
        return _Smoothed(target, self.rate, self.block or max(1, min(32, min(target.shape[-2:]) // 4)))


def rule_named(name: StopName, patience: int | None) -> Rule:
    """The rule of a name, with its patience where it has one."""
    if name == "es-wmv":
        return WindowedVariance(patience=patience)
    if name == "es-emv":
        return MovingVariance(patience=patience)
    return SmoothedPSNR() if name == "psnr" else Fixed()


def _patience(given: int | None, iterations: int) -> int:
    return given or max(1, iterations // _PATIENCE)


class _Last(Watcher):
    def __init__(self, target: Tensor, iterations: int) -> None:
        super().__init__(target)
        self.iterations = iterations

    def see(self, iteration: int, output: Tensor, average: Tensor) -> None:
        if iteration == self.iterations:
            self.keep(~self.done, iteration, average)


class SnapshotWatcher(Watcher):
    """Of :class:`Snapshots`: ``taken`` holds the averages (N, C, H, W) at its iterations, in their order."""

    def __init__(self, target: Tensor, at: tuple[int, ...]) -> None:
        super().__init__(target)
        self.wanted, self.taken = frozenset(at), list[Tensor]()

    def see(self, iteration: int, output: Tensor, average: Tensor) -> None:
        """See :class:`Watcher`."""
        if iteration in self.wanted:
            self.taken.append(average)
            self.keep(~self.done, iteration, average)


class _Variance(Watcher):
    """Keeps the output at the smallest variance; done when none smaller has come for a while."""

    def __init__(self, target: Tensor, patience: int) -> None:
        super().__init__(target)
        self.patience = patience
        self.smallest = torch.full((len(target),), torch.inf, dtype=torch.float64, device=target.device)

    def judge(self, variance: Tensor, iteration: int, average: Tensor) -> None:
        better = variance < self.smallest
        self.keep(better, iteration, average)
        self.smallest = torch.where(better & ~self.done, variance, self.smallest)
        self.done = self.done | (iteration - self.at >= self.patience)


class _Windowed(_Variance):
    """The variance from the running sums of outputs and of their squares, in double precision."""

    def __init__(self, target: Tensor, window: int, patience: int) -> None:
        super().__init__(target, patience)
        self.last = target.new_zeros(window, *target.shape)
        self.total = torch.zeros_like(target, dtype=torch.float64)
        self.squares = torch.zeros(window, len(target), dtype=torch.float64, device=target.device)

    def see(self, iteration: int, output: Tensor, average: Tensor) -> None:
        window = len(self.last)
        place = iteration % window
        self.total += output.double() - self.last[place]
        self.last[place] = output
        self.squares[place] = output.double().square().flatten(1).mean(1)
        if iteration < window:
            if iteration == 1:  # something, should the run be shorter than the window
                self.keep(~self.done, iteration, average)
            return
        mean = (self.total / window).square().flatten(1).mean(1)
        self.judge(self.squares.mean(0) - mean, iteration, average)


class _Moving(_Variance):
    def __init__(self, target: Tensor, rate: float, patience: int) -> None:
        super().__init__(target, patience)
        self.rate, self.mean = rate, torch.zeros_like(target)
        self.variance = torch.zeros(len(target), dtype=torch.float64, device=target.device)

    def see(self, iteration: int, output: Tensor, average: Tensor) -> None:
        if iteration == 1:
            self.mean = output
            self.keep(~self.done, iteration, average)
            return
        far = (output - self.mean).double().square().flatten(1).sum(1)
        self.mean = self.mean.lerp(output, self.rate)
        self.variance = (1 - self.rate) * (self.variance + self.rate * far)
        if iteration * self.rate >= 2:
            self.judge(self.variance, iteration, average)


class _Smoothed(Watcher):
    """Level and trend of the double exponential smoothing, and the highest level."""

    def __init__(self, target: Tensor, rate: float, block: int) -> None:
        super().__init__(target)
        self.target, self.rate, self.block = target, rate, block
        self.level = torch.zeros(len(target), dtype=torch.float64, device=target.device)
        self.trend, self.highest = torch.zeros_like(self.level), torch.full_like(self.level, -torch.inf)

    def see(self, iteration: int, output: Tensor, average: Tensor) -> None:
        value = self._worst_block(output)
        if iteration == 1:
            self.level = value
        else:
            before, self.level = self.level, self.rate * value + (1 - self.rate) * (self.level + self.trend)
            self.trend = self.rate * (self.level - before) + (1 - self.rate) * self.trend
        better = self.level > self.highest
        self.keep(better, iteration, average)
        self.highest = torch.where(better, self.level, self.highest)

    def _worst_block(self, output: Tensor) -> Tensor:
        """The smallest PSNR in dB of any block, (N,)."""
        error = (output - self.target).square().mean(1, keepdim=True)
        worst = F.avg_pool2d(error, self.block, ceil_mode=True).flatten(1).amax(1)
        return -10 * worst.double().clamp(min=1e-12).log10()
