"""NewtonFool: the paper's step, the first wrong answer, vanished gradients; the suite holds the rest."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from blurnet.attacks.ball.newtonfool import NewtonFool
from blurnet.attacks.base import STANDING


def logits_of(weight: torch.Tensor):
    return lambda x: x.flatten(1) @ weight.T


@pytest.mark.parametrize(("eta", "binds"), [(0.01, "length"), (10.0, "probability")])
def test_one_step_is_the_papers(eta, binds):
    g = torch.Generator().manual_seed(0)
    weight, x = torch.randn(3, 12, generator=g), 0.25 + torch.rand(1, 3, 2, 2, generator=g) / 2
    label = logits_of(weight)(x).argmax(1)
    p = F.softmax(logits_of(weight)(x), dim=1)[0]
    gradient = p[label] * (weight[label] - p @ weight)  # of the label's probability
    norm = gradient.norm()
    bounds = {"length": eta * x.norm() * norm, "probability": p[label] - 1 / 3}
    assert min(bounds, key=lambda name: bounds[name]) == binds
    wanted = x - (bounds[binds] * gradient / norm**2).view_as(x)
    out = NewtonFool(steps=1, eta=eta)(logits_of(weight), x, label)
    torch.testing.assert_close(out, wanted.clamp(0, 1))


def test_the_first_wrong_answer_is_kept(problem):
    attack = NewtonFool()
    record = attack.record(problem.net, problem.images, problem.labels)
    assert (record.stage == 0).all()
    fewer = NewtonFool(steps=int(record.calls.max()))(problem.net, problem.images, problem.labels)
    assert torch.equal(record.adversarial, fewer)
    assert (record.adversarial - problem.images).flatten(1).norm(dim=1).max() < 3  # near: the images' norm is 15


def test_a_vanished_gradient_leaves_the_image():
    """A saturated softmax: foolbox divides by its zero."""

    class Sure(nn.Module):
        def forward(self, x):
            return torch.stack([x.sum((1, 2, 3)) * 1e4, -x.sum((1, 2, 3)) * 1e4], dim=1)

    images = torch.full((2, 3, 4, 4), 0.5)
    record = NewtonFool().record(Sure(), images, torch.zeros(2, dtype=torch.int64))
    assert torch.equal(record.adversarial, images)
    assert record.stage.tolist() == [STANDING, STANDING]


def test_bad_settings_raise():
    with pytest.raises(ValueError, match="NewtonFool steps: expected from 0, got -1"):
        NewtonFool(steps=-1)
    with pytest.raises(ValueError, match="NewtonFool eta: expected a positive number"):
        NewtonFool(eta=0.0)
