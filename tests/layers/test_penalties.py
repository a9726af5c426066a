"""Penalties against hand values and direct loops."""

import copy

import pytest
import torch
from torch import nn

from blurnet.layers.penalties import (
    Tikhonov,
    TotalVariation,
    penalties,
    tikhonov,
    tikhonov_matrix,
    total_variation,
)


def maps(n: int = 2, k: int = 3, h: int = 5, w: int = 6) -> torch.Tensor:
    return torch.randn(n, k, h, w, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_total_variation_of_constant_impulse_and_ramp():
    assert total_variation(torch.full((7, 7), 3.0)) == 0
    impulse = torch.zeros(7, 7)
    impulse[3, 2] = -1.5
    assert total_variation(impulse) == 4 * 1.5
    corner = torch.zeros(7, 7)
    corner[0, 0] = 1
    assert total_variation(corner) == 2
    ramp = torch.arange(5.0).expand(4, 5)
    assert total_variation(ramp) == 16


def test_total_variation_equals_a_loop():
    x = maps()
    wanted = torch.zeros(2, 3, dtype=torch.float64)
    for i in range(5):
        for j in range(6):
            if i < 4:
                wanted += (x[..., i + 1, j] - x[..., i, j]).abs()
            if j < 5:
                wanted += (x[..., i, j + 1] - x[..., i, j]).abs()
    torch.testing.assert_close(total_variation(x), wanted)


@pytest.mark.parametrize("operator", ["hf", "diff", "pinv"])
def test_tikhonov_equals_a_loop(operator):
    x = maps()
    down, across = tikhonov_matrix(5, operator), tikhonov_matrix(6, operator)
    wanted = torch.zeros(2, 3, dtype=torch.float64)
    for n in range(2):
        for k in range(3):
            for column in x[n, k].unbind(1):
                wanted[n, k] += sum(float(row @ column) ** 2 for row in down)
            for line in x[n, k].unbind(0):
                wanted[n, k] += sum(float(row @ line) ** 2 for row in across)
    torch.testing.assert_close(tikhonov(x, operator), wanted)


def test_operators():
    average = torch.tensor([[1 / 2, 1 / 2, 0, 0], [1 / 3, 1 / 3, 1 / 3, 0], [0, 1 / 3, 1 / 3, 1 / 3], [0, 0, 0.5, 0.5]])
    average = average.double()
    torch.testing.assert_close(tikhonov_matrix(4, "hf"), torch.eye(4).double() - average, atol=1e-7, rtol=0)
    inverse = tikhonov_matrix(4, "pinv")
    torch.testing.assert_close(average @ inverse @ average, average, atol=1e-6, rtol=0)
    torch.testing.assert_close(tikhonov_matrix(3, "diff"), torch.tensor([[-1.0, 1, 0], [0, -1, 1]]).double())
    constant = torch.ones(1, 1, 8, 8)
    assert tikhonov(constant, "hf").item() == pytest.approx(0, abs=1e-10)
    assert tikhonov(constant, "diff").item() == 0


@pytest.mark.parametrize("layer", [TotalVariation(0.3), Tikhonov(0.3), Tikhonov(0.3, "pinv")], ids=repr)
def test_normalised_by_batch_and_channels(layer):
    """The formula is alpha / (N K) times the sum over images and maps."""
    x = maps().requires_grad_()
    measure = total_variation if isinstance(layer, TotalVariation) else lambda m: tikhonov(m, layer.operator)
    layer.train()(x)
    wanted = 0.3 / (2 * 3) * sum(measure(m) for one in x for m in one)
    torch.testing.assert_close(layer.penalty(), wanted)


def net(*modules: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), *modules)


def test_reading_clears_and_names_the_layers():
    model = net(TotalVariation(1.0), Tikhonov(1.0)).train()
    model(torch.rand(1, 3, 8, 8))
    with pytest.raises(RuntimeError):  # the trap this guards against: a kept graph cannot be copied
        copy.deepcopy(model)
    assert list(penalties(model)) == ["1", "2"]
    assert penalties(model) == {}
    copy.deepcopy(model)


def test_training_lowers_the_penalty():
    torch.manual_seed(0)
    model = net(TotalVariation(1.0)).train()
    x = torch.rand(2, 3, 8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    seen = []
    for _ in range(5):
        model(x)
        loss = sum(penalties(model).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] < seen[0]


def test_nothing_is_kept_where_nothing_is_asked():
    x = torch.rand(1, 3, 8, 8)
    for model in (net(TotalVariation(1.0)).eval(), net(TotalVariation(0.0)).train()):
        model(x)
        assert penalties(model) == {}
    model = net(TotalVariation(1.0)).train()
    with torch.no_grad():
        model(x)
    assert penalties(model) == {}
    model(x)
    model.eval()(x)  # a validation pass after the last reading leaves no stale value
    assert penalties(model) == {}


@pytest.mark.parametrize("layer", [TotalVariation(1e-4), Tikhonov(1e-4), Tikhonov(1e-4, "pinv")], ids=repr)
def test_half_precision_does_not_overflow(layer):
    x = (torch.rand(2, 2, 64, 64, generator=torch.Generator().manual_seed(0)) * 100).half().requires_grad_()
    layer.train()(x.float())
    wanted = layer.penalty()
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x) is x
    torch.testing.assert_close(layer.penalty(), wanted)


@pytest.mark.parametrize("make", [TotalVariation, Tikhonov])
def test_bad_weights_raise(make):
    for alpha in (-1e-4, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="alpha: expected from 0"):
            make(alpha)


def test_bad_operators_raise():
    with pytest.raises(ValueError, match=r"operator: expected one of .*, got 'sobel'"):
        Tikhonov(1.0, "sobel")
    with pytest.raises(ValueError, match="window: expected a positive odd integer, got 4"):
        Tikhonov(1.0, "hf", 4)
