"""One suite for everything that goes inside a net: enrol a layer by a line in LAYERS."""

import copy
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from blurnet.filters import binomial, box, depthwise, gaussian
from blurnet.layers.denoise import FeatureDenoise, Operation
from blurnet.layers.lowpass import FixedLowPass, LearnedLowPass
from blurnet.layers.penalties import MapPenalty, Penalty, Tikhonov, TotalVariation, penalties

C = 4


@dataclass
class Case:
    """A layer, and the function its forward must equal."""

    make: Callable[[], nn.Module]
    function: Callable[[nn.Module, Tensor], Tensor]


def identity(_: nn.Module, x: Tensor) -> Tensor:
    return x


def learned(layer: Any, x: Tensor) -> Tensor:
    return depthwise(x, layer.weight, layer.padding)


def denoise(operation: Operation, embed: bool = False, kernel_size: int = 3) -> FeatureDenoise:
    """A block that is no longer the identity it begins as."""
    layer = FeatureDenoise(C, operation, embed, kernel_size)
    nn.init.constant_(layer.norm.weight, 0.5)
    return layer


def denoised(layer: Any, x: Tensor) -> Tensor:
    return x + layer.norm(layer.conv(layer.denoise(x)))


LAYERS = {
    "fixed-box-3": Case(lambda: FixedLowPass(3), lambda _, x: depthwise(x, box(3))),
    "fixed-box-5": Case(lambda: FixedLowPass(5), lambda _, x: depthwise(x, box(5))),
    "fixed-binomial": Case(lambda: FixedLowPass(5, "binomial"), lambda _, x: depthwise(x, binomial(5))),
    "fixed-gaussian": Case(
        lambda: FixedLowPass(7, "gaussian", "replicate"), lambda _, x: depthwise(x, gaussian(7), "replicate")
    ),
    "fixed-one": Case(lambda: FixedLowPass(1), identity),
    "learned-3": Case(lambda: LearnedLowPass(C, 3), learned),
    "learned-7-linf": Case(lambda: LearnedLowPass(C, 7, linf=0.1), learned),
    "learned-zeros": Case(lambda: LearnedLowPass(C, 5, 0.1, "zeros", "gaussian"), learned),
    "learned-identity": Case(lambda: LearnedLowPass(C, 5, init="identity"), identity),
    "total-variation": Case(lambda: TotalVariation(1e-2), identity),
    "tikhonov-hf": Case(lambda: Tikhonov(1e-2), identity),
    "tikhonov-diff": Case(lambda: Tikhonov(1e-2, "diff"), identity),
    "tikhonov-pinv": Case(lambda: Tikhonov(1e-2, "pinv", 5), identity),
    "denoise-inserted": Case(lambda: FeatureDenoise(C), identity),
    "denoise-gaussian": Case(lambda: denoise("gaussian"), denoised),
    "denoise-gaussian-embedded": Case(lambda: denoise("gaussian", True), denoised),
    "denoise-dot": Case(lambda: denoise("dot"), denoised),
    "denoise-dot-embedded": Case(lambda: denoise("dot", True), denoised),
    "denoise-bilateral-gaussian": Case(lambda: denoise("bilateral-gaussian", True), denoised),
    "denoise-bilateral-dot": Case(lambda: denoise("bilateral-dot", False, 5), denoised),
    "denoise-mean": Case(lambda: denoise("mean"), denoised),
    "denoise-median": Case(lambda: denoise("median"), denoised),
    "denoise-none": Case(lambda: denoise("none"), denoised),
}
COMPILED = ["learned-7-linf", "total-variation", "denoise-gaussian-embedded", "denoise-dot"]
COMPILED += ["denoise-bilateral-gaussian", "denoise-median"]

each_layer = pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS)


def maps(n: int = 3, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(n, C, 10, 9, generator=torch.Generator().manual_seed(0), dtype=dtype)


@each_layer
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_keeps_shape_and_dtype(case, dtype):
    x = maps(dtype=dtype)
    for layer in (case.make().to(dtype), case.make().to(dtype).eval()):
        out = layer(x)
        assert out.shape == x.shape
        assert out.dtype == dtype
        assert out.isfinite().all()


@each_layer
def test_module_equals_function(case):
    layer = case.make()
    assert torch.equal(layer(maps()), case.function(layer, maps()))


@each_layer
def test_gradients(case):
    layer = case.make().double()
    x = maps(1, torch.float64)[..., :8, :8].requires_grad_()
    assert torch.autograd.gradcheck(layer, (x,))
    if isinstance(layer, Penalty) and layer.alpha > 0:

        def penalty(t: Tensor) -> Tensor:
            layer(t)
            value = layer.penalty()
            assert value is not None
            return value

        leaves = [x] if isinstance(layer, MapPenalty) else list(layer.parameters())
        for p in layer.parameters():  # equal weights tie for the largest, where the maximum has no gradient
            p.data += torch.randn(p.shape, generator=torch.Generator().manual_seed(1)).double() * 0.01
        assert torch.autograd.gradcheck(lambda *_: penalty(x), leaves)


@each_layer
def test_deepcopy(case):
    layer = case.make().train()
    layer(maps().requires_grad_())
    penalties(layer)  # reading lets go of the graph
    assert torch.equal(copy.deepcopy(layer)(maps()), layer(maps()))


@each_layer
def test_state_dict_round_trip(case):
    layer, other = case.make(), case.make()
    with torch.no_grad():
        for p in layer.parameters():
            p += 1
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True), strict=True)
    assert torch.equal(layer(maps()), other(maps()))
    norms = [m for m in layer.modules() if isinstance(m, nn.BatchNorm2d)]  # their statistics are learned
    learned = [*layer.parameters(), *(buffer for norm in norms for buffer in norm.buffers())]
    assert len(layer.state_dict()) == len(learned)  # constants are no weights


@each_layer
def test_evaluation_is_deterministic_and_keeps_no_graph(case):
    layer = case.make().eval()
    assert torch.equal(layer(maps()), layer(maps()))
    layer(maps().requires_grad_())
    if not isinstance(layer, LearnedLowPass):
        assert penalties(layer) == {}
        copy.deepcopy(layer)


@each_layer
def test_alone_equals_in_a_batch(case):
    layer = case.make().eval()
    torch.testing.assert_close(layer(maps()), torch.cat([layer(x[None]) for x in maps()]))


@each_layer
def test_repr_shows_the_arguments(case):
    layer = case.make()
    assert repr(layer).startswith(type(layer).__name__ + "(")
    assert repr(layer) != f"{type(layer).__name__}()"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # inductor's own warnings differ by version and machine
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_equals_eager(name):
    layer = LAYERS[name].make().train()
    compiled = torch.compile(layer, fullgraph=False)
    x = maps().requires_grad_()
    torch.testing.assert_close(compiled(x), layer(x))
    layer(x)
    eager = penalties(layer)
    compiled(x)
    torch.testing.assert_close(penalties(layer), eager)
