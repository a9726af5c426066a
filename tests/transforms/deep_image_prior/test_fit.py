from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.transforms.deep_image_prior.fit import Fit, fit_prior
from blurnet.transforms.deep_image_prior.settings import DeepImagePriorSettings
from blurnet.transforms.deep_image_prior.stopping import Fixed, MovingVariance

QUICK = DeepImagePriorSettings(12, net="tiny", widths=(4, 6), skips=(2, 2), lr=0.03, average=0.5)


def images(n: int = 3, size: tuple[int, int] = (12, 16)) -> Tensor:
    g = torch.Generator().manual_seed(0)
    return F.interpolate(torch.rand(n, 3, 3, 4, generator=g), size, mode="bilinear")


def fitted(x: Tensor, settings: DeepImagePriorSettings = QUICK, **more) -> Tensor:
    return torch.cat([watcher.best for (watcher,) in fit_prior(x, settings, [Fixed()], **more)])


def test_the_error_falls():
    fit, x = Fit(images(2), QUICK, 0), images(2)
    errors = [(fit.step()[0] - x).square().flatten(1).mean(1) for _ in range(60)]
    assert (errors[-1] < 0.3 * errors[0]).all()


def test_the_average_is_the_moving_one():
    fit, average = Fit(images(1), QUICK, 0), None
    for _ in range(5):
        output, mean = fit.step()
        average = output if average is None else 0.5 * average + 0.5 * output
        torch.testing.assert_close(mean, average)


def test_an_image_alone_is_bit_for_bit_that_in_a_batch():
    x = images(4)
    assert torch.equal(fitted(x), torch.cat([fitted(one[None]) for one in x]))
    assert torch.equal(fitted(x.flip(0)).flip(0), fitted(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_nets_that_run_as_one_equal_one_at_a_time(dtype):
    x, settings = images(5).to(dtype), replace(QUICK, iterations=5)
    together = fitted(x, replace(settings, chunk=3))
    torch.testing.assert_close(together, fitted(x, settings), rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-10)


def test_companions_do_not_change_an_image_of_a_group():
    """Two neighbours, then two others: what the nets of a group share would show."""
    x, settings = images(5).double(), replace(QUICK, chunk=3)
    one, other = fitted(x[:3], settings), fitted(torch.cat([x[3:], x[2:3]]), settings)
    torch.testing.assert_close(one[2], other[2], rtol=0, atol=1e-10)


def test_each_image_stops_by_itself():
    x = torch.stack([torch.full((3, 12, 16), 0.5), images(1)[0]]).double()
    settings, rule = replace(QUICK, iterations=200, chunk=2), MovingVariance(0.3, patience=4)
    (watcher,) = fit_prior(x, settings, [rule])[0]
    alone = [fit_prior(one[None], replace(settings, chunk=1), [rule])[0][0] for one in x]
    assert watcher.done.all()
    assert watcher.at.tolist() == [int(one.at) for one in alone]
    assert len(set(watcher.at.tolist())) == 2


def test_the_seed_decides_and_nothing_else_does():
    x, state = images(2), torch.get_rng_state()
    assert torch.equal(fitted(x, seed=3), fitted(x, seed=3))
    assert not torch.equal(fitted(x, seed=3), fitted(x, seed=4))
    assert torch.equal(torch.get_rng_state(), state)


def test_threads_are_put_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        two = fitted(images(3))
        assert torch.get_num_threads() == 2
        torch.set_num_threads(1)
        assert torch.equal(fitted(images(3)), two)
    finally:
        torch.set_num_threads(before)


def test_unknown_pixels_do_not_count():
    x, known = images(2), torch.ones(2, 1, 12, 16)
    known[..., 2:6, 3:9] = 0
    spoiled = torch.where(known.bool(), x, 1 - x)
    assert torch.equal(fitted(x, known=known), fitted(spoiled, known=known))
    assert not torch.equal(fitted(x), fitted(spoiled))


SIZES = [((1, 1), (4, 4)), ((5, 7), (6, 8)), ((9, 11), (12, 12)), ((8, 12), (8, 12)), ((1, 9), (4, 10))]


@pytest.mark.parametrize(("size", "canvas"), SIZES, ids=str)
def test_images_are_continued_by_reflection(size, canvas):
    x = torch.rand(1, 3, *size)
    fit = Fit(x, QUICK, 0)
    assert fit.canvas == canvas
    assert torch.equal(fit.cut(fit.target), x)
    if min(size) > max(c - s for c, s in zip(canvas, size, strict=True)):
        below, beside = canvas[0] - size[0], canvas[1] - size[1]
        torch.testing.assert_close(fit.target, F.pad(x, (0, beside, 0, below), mode="reflect"))


def test_a_bar_tells_how_far_it_is(capsys):
    fit_prior(images(2), QUICK, [Fixed()], progress="prior")
    shown = capsys.readouterr().err
    assert "prior" in shown
    assert "24/24" in shown
    fit_prior(images(1), QUICK, [Fixed()])
    assert capsys.readouterr().err == ""
