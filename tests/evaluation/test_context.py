"""What all attacks of an evaluation share: budgets, places, balls. Bad settings: ``test_attacks.py``."""

import pytest

from blurnet.balls import Ball
from blurnet.evaluation.context import QUERIES, STEPS, Context
from blurnet.evaluation.threats import InMask, SquarePatch
from blurnet.masks import Place
from tests.evaluation.sample_jobs import BOX


def test_steps_and_queries_follow_the_budget_unless_given():
    for budget in ("quick", "standard", "full"):
        context = Context(budget=budget)
        assert (context.gradient_steps, context.queries) == (STEPS[budget], QUERIES[budget])
    given = Context(steps=7)
    assert (given.gradient_steps, given.queries) == (7, 7)


def test_a_patch_is_free_or_masked():
    free, masked = Context(0.1, seed=3), Context(None, BOX, "box")
    assert (free.patch, free.where(), free.free_or_masked()) == (
        SquarePatch(0.1),
        Place(0.1, "border", 3),
        {"area": 0.1},
    )
    assert masked.patch == InMask("box", BOX)
    assert masked.where() is masked.free_or_masked()["mask"] is BOX


@pytest.mark.parametrize("eps", [0.25, 1])
def test_the_ball(eps):
    assert Context(eps=eps).ball == Ball("linf", eps)
