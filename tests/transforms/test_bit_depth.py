"""The three readings of bit-depth reduction against their formulas, in NumPy."""

import numpy as np
import pytest
import torch

from blurnet.transforms.bit_depth import BitDepth, bit_depth

EVERY_VALUE = torch.arange(256).view(1, 1, 16, 16).float() / 255


def formula(x: torch.Tensor, bits: int, rule: str) -> np.ndarray:
    pixels = x.numpy()
    if rule == "squeeze":
        return np.rint(pixels * (2**bits - 1)) / (2**bits - 1)
    if rule == "truncate":
        shift = 8 - bits
        return ((np.rint(pixels * 255).astype(np.uint8) >> shift) << shift) / 255.0
    return np.round(pixels * 2**bits) / 2**bits


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("rule", ["squeeze", "truncate", "quantize"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_equals_the_formula(bits, rule, dtype):
    x = torch.arange(256).view(1, 1, 16, 16).to(dtype) / 255
    np.testing.assert_allclose(bit_depth(x, bits, rule).numpy(), formula(x, bits, rule), rtol=0, atol=1e-7)


def test_number_of_values_and_white():
    for rule, count, white in (("squeeze", 8, 1.0), ("truncate", 8, 224 / 255), ("quantize", 9, 1.0)):
        out = bit_depth(EVERY_VALUE, 3, rule)
        assert len(out.unique()) == count
        assert out.max() == pytest.approx(white)


def test_eight_bits_change_nothing_but_in_guos_reading():
    torch.testing.assert_close(bit_depth(EVERY_VALUE, 8, "squeeze"), EVERY_VALUE)
    torch.testing.assert_close(bit_depth(EVERY_VALUE, 8, "truncate"), EVERY_VALUE)
    assert not torch.equal(bit_depth(EVERY_VALUE, 8, "quantize"), EVERY_VALUE)


def test_gradient_goes_straight_through(noise):
    x, weight = noise.clone().requires_grad_(), torch.randn(noise.shape)
    (gradient,) = torch.autograd.grad((BitDepth().surrogate(x) * weight).sum(), x)
    assert torch.equal(gradient, weight)


@pytest.mark.parametrize(
    ("settings", "message"), [((0,), r"bits: expected in \[1, 8\], got 0"), ((9,), "bits"), ((3, "floor"), "squeeze")]
)
def test_bad_settings_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        BitDepth(*settings)
    with pytest.raises(TypeError, match=r"bits: expected int, got 2\.5"):
        BitDepth(2.5)
