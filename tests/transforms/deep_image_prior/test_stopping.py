import math

import numpy as np
import pytest
import torch
from torch import Tensor

from blurnet.transforms.deep_image_prior.stopping import (
    Fixed,
    MovingVariance,
    Rule,
    SmoothedPSNR,
    Snapshots,
    Watcher,
    WindowedVariance,
    rule_named,
)

N, LENGTH = 2, 60


def outputs(settled: tuple[int, ...] = (20, 35), length: int = LENGTH) -> list[Tensor]:
    """Outputs (N, 3, 4, 4) whose changes die down until an iteration of each image's own, and grow again."""
    g = torch.Generator().manual_seed(0)
    found, x = [], torch.full((N, 3, 4, 4), 0.5)
    for i in range(length):
        step = torch.tensor([abs(i - when) / 200 + 0.001 for when in settled])[:, None, None, None]
        x = x + step * torch.randn(x.shape, generator=g)
        found.append(x)
    return found


def watched(rule: Rule, shown: list[Tensor], target: Tensor | None = None, budget: int | None = None) -> Watcher:
    watcher = rule.watch(torch.zeros_like(shown[0]) if target is None else target, budget or len(shown))
    for i, output in enumerate(shown, 1):
        watcher.see(i, output, output)
    return watcher


def test_fixed_keeps_the_last():
    shown = outputs()
    watcher = watched(Fixed(), shown)
    assert torch.equal(watcher.best, shown[-1])
    assert watcher.at.tolist() == [LENGTH] * N


def test_snapshots_are_what_was_shown():
    shown = outputs()
    watcher = Snapshots((1, 7, 60)).watch(shown[0], LENGTH)
    for i, output in enumerate(shown, 1):
        watcher.see(i, output, output)
    assert all(map(torch.equal, watcher.taken, [shown[0], shown[6], shown[59]]))


def test_windowed_variance_is_that_of_the_last_outputs():
    """Against NumPy: the variance over the window, averaged over pixels; the first smallest one wins."""
    shown, window = outputs(), 8
    stack = torch.stack(shown).double().numpy()
    variance = np.full((LENGTH, N), np.inf)
    for i in range(window - 1, LENGTH):
        variance[i] = stack[i - window + 1 : i + 1].var(axis=0).reshape(N, -1).mean(1)
    watcher = watched(WindowedVariance(window, patience=LENGTH), shown)
    assert watcher.at.tolist() == (variance.argmin(axis=0) + 1).tolist()
    assert len(set(watcher.at.tolist())) == N  # each image has a stop of its own
    for n, at in enumerate(watcher.at.tolist()):
        assert torch.equal(watcher.best[n], shown[at - 1][n])


def test_moving_variance_is_the_recursion():
    shown, rate = outputs(), 0.2
    wanted = []
    for n in range(N):
        mean, variance, values = shown[0][n].double(), 0.0, {}
        for i, output in enumerate(shown[1:], 2):
            far = float((output[n].double() - mean).square().sum())
            mean = (1 - rate) * mean + rate * output[n].double()
            variance = (1 - rate) * (variance + rate * far)
            if i >= 2 / rate:
                values[i] = variance
        wanted.append(min(values, key=values.__getitem__))
    assert watched(MovingVariance(rate, patience=LENGTH), shown).at.tolist() == wanted


@pytest.mark.parametrize("rule", [WindowedVariance(5, patience=6), MovingVariance(0.4, patience=6)], ids=repr)
def test_patience_ends_each_image_by_itself_and_keeps_its_best(rule):
    shown = outputs(settled=(12, 40))
    watcher = rule.watch(shown[0], LENGTH)
    best_when_done: dict[int, Tensor] = {}
    for i, output in enumerate(shown, 1):
        watcher.see(i, output, output)
        for n in watcher.done.nonzero()[:, 0].tolist():
            best_when_done.setdefault(n, watcher.best[n].clone())
            assert i - int(watcher.at[n]) >= 6
    assert bool(watcher.done[0])
    assert all(torch.equal(watcher.best[n], best) for n, best in best_when_done.items())


def test_patience_is_scaled_to_the_budget():
    for name in ("es-wmv", "es-emv"):
        assert rule_named(name, None).watch(torch.zeros(1, 3, 4, 4), 1750).patience == 350
        assert rule_named(name, 9).watch(torch.zeros(1, 3, 4, 4), 1750).patience == 9
    assert len(WindowedVariance().watch(torch.zeros(1, 3, 4, 4), 5000).last) == 100


def test_smoothed_psnr_is_the_recursion_over_the_worst_block():
    shown, rate, block = outputs(), 0.1, 2
    target = shown[30]
    wanted = []
    for n in range(N):
        level = trend = before = 0.0
        highest, at = -math.inf, 0
        for i, output in enumerate(shown, 1):
            error = (output[n] - target[n]).square().mean(0).double().numpy()
            worst = max(error[a : a + block, b : b + block].mean() for a in (0, 2) for b in (0, 2))
            value = -10 * math.log10(max(worst, 1e-12))
            if i == 1:
                level = value
            else:
                before, level = level, rate * value + (1 - rate) * (level + trend)
                trend = rate * (level - before) + (1 - rate) * trend
            if level > highest:
                highest, at = level, i
        wanted.append(at)
    watcher = watched(SmoothedPSNR(rate, block), shown, target)
    assert watcher.at.tolist() == wanted
    assert not watcher.done.any()


@pytest.mark.parametrize(("side", "block"), [(224, 32), (128, 32), (32, 8), (1, 1)])
def test_blocks_fit_the_image(side, block):
    assert SmoothedPSNR().watch(torch.zeros(1, 3, side, side), 10).block == block


@pytest.mark.parametrize("rule", [Fixed(), WindowedVariance(), MovingVariance(), SmoothedPSNR()], ids=repr)
def test_the_shortest_run_gives_its_output(rule):
    shown = outputs(length=1)
    assert torch.equal(watched(rule, shown).best, shown[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WindowedVariance(window=1), "window: expected from 2, got 1"),
        (lambda: MovingVariance(rate=1.0), r"rate: expected in \(0, 1\), got 1.0"),
        (lambda: MovingVariance(patience=0), "patience: expected from 1, got 0"),
        (lambda: SmoothedPSNR(rate=0.0), "rate: expected a positive number, got 0.0"),
        (lambda: Snapshots((0,)), "at: expected from 1, got 0"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()
