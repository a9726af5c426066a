from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.transforms.deep_image_prior.deep_image_prior import DeepImagePrior, deep_image_prior
from blurnet.transforms.deep_image_prior.settings import DeepImagePriorSettings
from blurnet.transforms.deep_image_prior.unroll import unrolled

SETTINGS = DeepImagePriorSettings(8, net="tiny", widths=(4,), skips=(2,), lr=0.02, average=0.3, unroll=3)


def images(n: int = 2) -> Tensor:
    g = torch.Generator().manual_seed(0)
    return F.interpolate(torch.rand(n, 3, 2, 3, generator=g, dtype=torch.float64), (6, 8), mode="bilinear")


@pytest.mark.parametrize("unroll", [1, 3, 7])
def test_it_has_the_values_of_the_run(unroll):
    settings = replace(SETTINGS, unroll=unroll)
    torch.testing.assert_close(unrolled(images(), settings, 0), deep_image_prior(images(), settings), rtol=0, atol=1e-9)


def test_its_gradient_is_the_numerical_one_of_the_last_steps():
    """Central differences of a run whose target moves in its last four draws only."""
    x = images(1)
    g = torch.Generator().manual_seed(1)
    weights, direction = (torch.randn(x.shape, generator=g, dtype=torch.float64) for _ in range(2))

    def value(moved: Tensor) -> Tensor:
        fit_of_x = unrolled_from(x, moved)
        return (fit_of_x * weights).sum()

    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((unrolled(leaf, SETTINGS, 0) * weights).sum(), leaf)
    step = 1e-5
    numerical = (value(x + step * direction) - value(x - step * direction)) / (2 * step)
    assert abs(float(numerical)) > 1e-4
    torch.testing.assert_close((gradient * direction).sum(), numerical, rtol=1e-3, atol=1e-8)


def unrolled_from(x: Tensor, target: Tensor) -> Tensor:
    """The run on ``x`` whose last steps draw ``target`` instead, by the fit's own Adam."""
    from blurnet.transforms.deep_image_prior.fit import Fit

    fit = Fit(x, SETTINGS, 0)
    for i in range(SETTINGS.iterations):
        if i == SETTINGS.iterations - SETTINGS.unroll - 1:
            fit.target = fit.continued(target)
        fit.step()
    return fit.average


def test_more_steps_see_more_of_the_image():
    leaf = images(1).requires_grad_()
    sizes = []
    for unroll in (1, 7):
        out = unrolled(leaf, replace(SETTINGS, unroll=unroll), 0)
        sizes.append(float(torch.autograd.grad(out.sum(), leaf)[0].abs().sum()))
    assert sizes[0] > 0
    assert sizes[0] != sizes[1]


def test_the_module_takes_it():
    from blurnet.transforms.base import adaptive

    x = images(1).requires_grad_()
    transform = DeepImagePrior(8, net="tiny", widths=(4,), skips=(2,), lr=0.02, average=0.3, unroll=3)
    (gradient,) = torch.autograd.grad(adaptive(transform)(x).sum(), x)
    (wanted,) = torch.autograd.grad(unrolled(x, SETTINGS, transform.generator().initial_seed()).sum(), x)
    assert torch.equal(gradient, wanted)
    assert gradient.abs().sum() > 0
