"""One pass of the clean images gives logits and gradients, and is forgotten after the last."""

import gc
import weakref

import pytest
import torch

from blurnet.attacks.engine.clean import CleanPass


class Watched:
    """A model that holds its logits by weak references."""

    def __init__(self, net):
        self.net, self.logits = net, []

    def __call__(self, x):
        logits = self.net(x)
        self.logits.append(weakref.ref(logits))
        return logits

    def alive(self):
        gc.collect()
        return [kept() is not None for kept in self.logits]


def by_hand(net, images, kind):
    x = images.clone().requires_grad_()
    return torch.autograd.grad(net(x)[:, kind].sum(), x)[0]


def test_gradients_of_one_pass(problem):
    model = Watched(problem.net)
    shown, rows = CleanPass(model, problem.images, 2), torch.tensor([5, 0, 3])
    assert torch.equal(shown.logits(), problem.net(problem.images))
    assert not shown.logits().requires_grad
    for kind in (1, 2):
        assert model.alive() == [True]
        found = shown.gradient(rows, lambda logits, kind=kind: logits[:, kind])
        torch.testing.assert_close(found, by_hand(problem.net, problem.images, kind)[rows])
    assert model.alive() == [False]  # no later gradient is expected
    torch.testing.assert_close(
        shown.gradient(rows, lambda logits: logits[:, 0]), by_hand(problem.net, problem.images, 0)[rows]
    )
    assert model.alive() == [False, False]


def test_no_graph_is_held_for_logits_alone(problem):
    model = Watched(problem.net)
    assert not CleanPass(model, problem.images, 0).logits().requires_grad
    assert model.alive() == [False]


def test_a_model_without_a_gradient_gives_logits_only(problem):
    shown = CleanPass(lambda x: problem.net(x.detach()).detach(), problem.images, 1)
    assert torch.equal(shown.logits(), problem.net(problem.images))
    with pytest.raises(RuntimeError, match="no gradient in the pixels"):
        shown.gradient(torch.arange(8), lambda logits: logits[:, 0])
