from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blurnet.attacks.ball.pgd import PGD
from blurnet.balls import Ball
from blurnet.transforms.base import adaptive, defend, transforms_of
from blurnet.transforms.deep_image_prior.deep_image_prior import (
    DeepImagePrior,
    deep_image_prior,
    prior_inpaint,
    prior_outputs,
)
from blurnet.transforms.deep_image_prior.settings import DeepImagePriorSettings

QUICK = {"net": "tiny", "widths": (8, 8), "skips": (4, 4), "lr": 0.02, "average": 0.5}


def smooth(n: int = 2, size: tuple[int, int] = (24, 32)) -> Tensor:
    g = torch.Generator().manual_seed(0)
    return F.interpolate(torch.rand(n, 3, 3, 4, generator=g), size, mode="bicubic").clamp(0, 1)


def error(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).square().flatten(1).mean(1)


def test_structure_is_drawn_before_noise():
    """Early it is nearer to the image behind the noise than the noisy image is; later it has drawn the noise."""
    clean = smooth()
    noisy = (clean + 0.15 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    wide = {**QUICK, "widths": (16, 16), "lr": 0.03}
    early, late = prior_outputs(noisy, (100, 400), DeepImagePriorSettings(**wide))
    assert (error(early, clean) < 0.3 * error(noisy, clean)).all()
    assert (error(late, noisy) < error(early, noisy)).all()
    assert (error(late, clean) > 1.1 * error(early, clean)).all()


def test_the_module_is_the_function_at_its_first_draw():
    x, transform = smooth(1), DeepImagePrior(6, **QUICK)
    first, second = transform(x), transform(x)
    transform.reset()
    assert torch.equal(transform(x), first)
    assert not torch.equal(first, second)
    assert torch.equal(first, deep_image_prior(x, 6, **QUICK, seed=transform.generator().initial_seed()))


def test_outputs_are_those_of_shorter_runs():
    x, settings = smooth(2), DeepImagePriorSettings(**QUICK)
    at = (3, 10, 11)
    outputs = prior_outputs(x, at, settings)
    for output, iterations in zip(outputs, at, strict=True):
        assert torch.equal(output, deep_image_prior(x, replace(settings, iterations=iterations)))


@pytest.mark.parametrize("stop", ["es-wmv", "es-emv", "psnr"])
def test_a_rule_gives_an_output_of_the_run(stop):
    x, settings = smooth(1), DeepImagePriorSettings(40, stop, **QUICK)
    result = deep_image_prior(x, settings)
    outputs = prior_outputs(x, tuple(range(1, 41)), settings)
    assert any(torch.equal(result, output) for output in outputs)


def test_inpainting_draws_what_it_has_not_seen():
    x, mask = smooth(2), torch.zeros(24, 32)
    mask[8:14, 10:18] = 1
    holes = torch.where(mask.bool(), torch.rand(x.shape, generator=torch.Generator().manual_seed(2)), x)
    settings = DeepImagePriorSettings(120, **QUICK)
    filled = prior_inpaint(holes, mask, settings)
    assert torch.equal(filled * (1 - mask), x * (1 - mask))
    inside = mask.bool().expand_as(x)
    assert (filled - x)[inside].square().mean() < 0.2 * (holes - x)[inside].square().mean()
    assert torch.equal(filled, prior_inpaint(x, mask, settings))  # what lies in the hole is not looked at


def test_an_attack_that_knows_it_goes_through_it():
    """PGD by the identity's gradient, at the draw that it is then judged on."""
    net = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 3))
    with torch.no_grad():
        net[2].weight.copy_(torch.randn(3, 12, generator=torch.Generator().manual_seed(3)))
        net[2].bias.zero_()
    x, defended = smooth(2, (12, 16)), defend(net, DeepImagePrior(40, **QUICK)).eval()

    def margin(images: Tensor) -> Tensor:
        for transform in transforms_of(defended):
            transform.reset()
        with torch.no_grad():
            logits = defended(images)
        return logits.gather(1, y[:, None])[:, 0] - logits.scatter(1, y[:, None], -torch.inf).amax(1)

    y = net(x).argmax(1)
    adversarial = PGD(Ball("linf", 0.3), steps=6)(adaptive(defended), x, y)
    assert (margin(adversarial) < margin(x) - 0.1).all()


@pytest.mark.parametrize("at", [(), (0, 3), (3, 2), (2, 2)], ids=str)
def test_bad_iterations(at):
    with pytest.raises(ValueError, match=r"expected (rising iterations )?from 1, got"):
        prior_outputs(smooth(1), at)


def test_bad_input():
    with pytest.raises(ValueError, match="DeepImagePrior iterations: expected from 1, got 0"):
        deep_image_prior(smooth(1), 0)
    with pytest.raises(ValueError, match="expected pixels in"):
        deep_image_prior(smooth(1) * 2, 5)
    with pytest.raises(ValueError, match="prior_inpaint: mask: no pixel is set"):
        prior_inpaint(smooth(1), torch.zeros(24, 32))
