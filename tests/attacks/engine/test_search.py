"""Random search, on whatever it changes: queries, what is kept, who leaves."""

import copy
from itertools import pairwise

import pytest
import torch

from blurnet.attacks.ball.square import Square
from blurnet.attacks.engine.losses import margin
from blurnet.attacks.engine.search import coverage
from blurnet.attacks.patch.random_search import PatchRandomSearch
from blurnet.balls import Ball
from blurnet.masks import Place

BALLS = [Ball("linf", 0.1), Ball("l2", 1.5)]
EACH = [PatchRandomSearch(0.1), PatchRandomSearch(mask=Place(0.1)), *(Square(ball) for ball in BALLS)]
each_search = pytest.mark.parametrize("attack", EACH, ids=repr)


def leads(problem, adversarial):
    with torch.no_grad():
        return -margin(problem.net(adversarial), problem.labels)


class Counting:
    """A model that notes how many images came, and refuses to be differentiated."""

    def __init__(self, net) -> None:
        self.net, self.sizes = net, []

    def __call__(self, x):
        assert not torch.is_grad_enabled()
        self.sizes.append(len(x))
        return self.net(x)


@each_search
def test_queries_are_counted_and_solved_images_leave(attack, problem):
    model = Counting(problem.net)
    record = type(attack)(**{**vars(attack), "steps": 60}).record(model, problem.images, problem.labels)
    assert model.sizes == sorted(model.sizes, reverse=True)
    assert sum(model.sizes) == record.calls.sum()
    fooled = leads(problem, record.adversarial) > 0
    assert fooled.any()
    assert torch.equal(record.stage, torch.where(fooled, 0, -1))
    assert record.calls[~fooled].tolist() == [62] * int((~fooled).sum())
    assert record.calls[fooled].max() <= 62


@each_search
def test_no_step_is_ever_lost(attack, problem):
    """The margin falls with every longer search, also past the first success."""
    reached = [
        leads(problem, type(attack)(**{**vars(attack), "steps": steps, "stop": False})(problem.net, *problem[1:3]))
        for steps in (0, 1, 5, 20, 60)
    ]
    for before, after in pairwise(reached):
        assert (after >= before).all()
    assert (reached[-1] > reached[0]).float().mean() > 0.8


@each_search
def test_companions_and_their_successes_do_not_matter(attack, problem):
    net, x, y = copy.deepcopy(problem.net).double(), problem.images.double(), problem.labels
    attack = type(attack)(**{**vars(attack), "steps": 80})
    together = attack.record(net, x, y)
    assert 0 < (together.stage == 0).sum() <= 8
    for i in (0, 5):
        alone = attack.record(net, x[i : i + 1], y[i : i + 1])
        torch.testing.assert_close(alone.adversarial[0], together.adversarial[i])
        assert (alone.calls[0], alone.stage[0]) == (together.calls[i], together.stage[i])
        assert torch.equal(alone.box[0], together.box[i])


@pytest.mark.parametrize("attack", [PatchRandomSearch, "square"], ids=str)
def test_targets_are_reached(attack, problem):
    attack = Square(Ball("linf", 0.3), target=0) if attack == "square" else PatchRandomSearch(0.3, target=0)
    adversarial = attack(problem.net, problem.images, problem.labels)
    assert (problem.net(adversarial).argmax(1) == 0).float().mean() >= 0.8


def test_plateaus_are_walked(problem):
    """A model that gives the same logits everywhere accepts every proposal, so that the search does not stand."""
    flat = PatchRandomSearch(0.1, steps=30)(lambda x: torch.zeros(len(x), 5), problem.images, problem.labels * 0)
    start = PatchRandomSearch(0.1, steps=0)(lambda x: torch.zeros(len(x), 5), problem.images, problem.labels * 0)
    assert (flat != start).flatten(1).any(1).all()


def test_what_a_step_covers_is_halved_after_each_milestone():
    assert [coverage(0.4, step) for step in (1, 10, 11, 50, 51, 201, 8001)] == [
        0.4,
        0.4,
        0.2,
        0.2,
        0.1,
        0.05,
        0.4 / 512,
    ]
