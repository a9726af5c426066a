"""Low-pass layers: response, training, refusals."""

import pytest
import torch

from blurnet.filters import gaussian
from blurnet.layers.lowpass import FixedLowPass, LearnedLowPass, linf_penalty
from blurnet.layers.penalties import penalties


@pytest.mark.parametrize("layer", [FixedLowPass(3), FixedLowPass(5, "gaussian"), LearnedLowPass(2, 7)], ids=repr)
def test_constants_pass_up_to_the_border(layer):
    constant = torch.full((1, 2, 9, 9), 0.7)
    torch.testing.assert_close(layer(constant), constant)


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("axis", [-1, -2])
def test_box_leaves_one_kth_at_nyquist(k, axis):
    stripes = torch.tensor([1.0, -1]).repeat(8).expand(1, 1, 16, 16)
    x = stripes if axis == -1 else stripes.mT
    spectrum = torch.fft.fft2(FixedLowPass(k, padding="circular")(x)).abs()
    torch.testing.assert_close(spectrum.amax(), torch.fft.fft2(x).abs().amax() / k)


def test_linf_penalty_of_a_constant_kernel_is_alpha_times_it():
    weight = torch.full((64, 5, 5), -0.25)
    torch.testing.assert_close(linf_penalty(weight, 0.1), torch.tensor(0.025))


def test_linf_penalty_averages_the_largest_weight_of_each_channel():
    weight = torch.zeros(4, 3, 3)
    weight[0, 1, 2], weight[2, 0, 0] = -3, 1
    torch.testing.assert_close(linf_penalty(weight, 2.0), torch.tensor(2.0))


def test_learned_starts_at_its_kernel_and_trains():
    layer = LearnedLowPass(3, 5, linf=0.1, init="gaussian")
    assert torch.equal(layer.weight, gaussian(5).expand(3, 5, 5))
    found = penalties(torch.nn.Sequential(layer))
    assert list(found) == ["0"]
    found["0"].backward()
    assert (layer.weight.grad.flatten(1).abs().sum(1) > 0).all()
    assert penalties(LearnedLowPass(3, 5)) == {}  # no weight, no penalty


def test_it_reaches_the_penalty_in_evaluation_too():
    layer = LearnedLowPass(3, 3, linf=1.0).eval()
    torch.testing.assert_close(penalties(layer)[""], torch.tensor(1 / 9))


@pytest.mark.parametrize("k", [0, 2, 4, -3])
def test_even_sizes_raise(k):
    for make in (lambda: FixedLowPass(k), lambda: LearnedLowPass(3, k), lambda: LearnedLowPass(3, k, init="identity")):
        with pytest.raises(ValueError, match=f"positive odd integer, got {k}"):
            make()


def test_bad_arguments_raise():
    with pytest.raises(ValueError, match=r"kernel: expected one of .* got 'mean'"):
        FixedLowPass(3, "mean")
    with pytest.raises(ValueError, match=r"init: expected one of .* got 'random'"):
        LearnedLowPass(3, 3, init="random")
    for linf in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="linf"):
            LearnedLowPass(3, 3, linf=linf)
    with pytest.raises(ValueError, match="3 kernels for 4 channels"):
        LearnedLowPass(3, 3)(torch.rand(1, 4, 8, 8))
    with pytest.raises(ValueError, match="too small"):
        FixedLowPass(7)(torch.rand(1, 4, 3, 8))


@pytest.mark.parametrize("padding", ["same", "REFLECT"])
def test_unknown_padding_raises_at_construction(padding):
    for make in (lambda: FixedLowPass(3, padding=padding), lambda: LearnedLowPass(3, 3, padding=padding)):
        with pytest.raises(ValueError, match=f"padding: expected .* got '{padding}'"):
            make()
