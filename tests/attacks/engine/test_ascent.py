"""The one gradient loop on a problem that can be followed by hand."""

import pytest
import torch

from blurnet.attacks.engine.ascent import Ascent, Look, climb, pixel_gradient
from blurnet.attacks.engine.best import Keeper
from blurnet.attacks.engine.climbers import Gradient


class Uphill(Ascent):
    """Rows climb ``-(x - top)^2``; an image is done once one of its rows is near its top."""

    def __init__(self, tops, starts=1):
        self.tops, self.images = tops.repeat(starts), len(tops)
        self.sizes = []

    def look(self, variable):
        self.sizes.append(len(variable))
        value = -(variable - self.tops).square()
        done = (value > -0.01).view(-1, self.images).any(0)
        return Look(variable, value, value, value * 0, variable, done)

    def keep(self, rows, images):
        self.tops, self.images = self.tops[rows], len(images)


def test_images_leave_with_all_their_rows():
    tops, starts = torch.tensor([1.0, 5.0]), torch.tensor([0.0, 0, 1.01, 9])
    ascent = Uphill(tops, 2)
    best = climb(ascent, starts, Gradient(0.25), 20, Keeper(torch.zeros(2), starts))
    assert ascent.sizes[:2] == [4, 2]  # the second row of the first image is at its top at once
    assert len(ascent.sizes) < 21
    torch.testing.assert_close(best.x, tops, atol=0.11, rtol=0)


def test_the_last_look_takes_no_gradient():
    graphs = []

    class Watch(Uphill):
        def look(self, variable):
            graphs.append((variable.requires_grad, torch.is_grad_enabled()))
            return super().look(variable)._replace(done=None)

    best = climb(Watch(torch.tensor([1.0])), torch.zeros(1), Gradient(0.1), 2, Keeper(torch.zeros(1), torch.zeros(1)))
    assert graphs == [(True, True), (True, True), (False, False)]
    torch.testing.assert_close(best.x, torch.tensor([0.36]))


def test_a_gradient_that_comes_from_beside_the_model_is_none():
    noise = torch.ones(3, requires_grad=True)
    seen = 2 * noise
    with pytest.raises(RuntimeError, match="no gradient in the pixels"):
        pixel_gradient(seen.detach().sum() + noise.norm(), noise, seen)
    with pytest.raises(RuntimeError, match="no gradient in the pixels"):
        pixel_gradient(seen.detach().sum(), noise, seen)
    assert pixel_gradient((0 * seen).sum() + noise.sum(), noise, seen).tolist() == [1, 1, 1]  # zero is one
