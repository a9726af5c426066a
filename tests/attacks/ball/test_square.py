"""Square: its budget and the shape of its steps."""

import pytest
import torch

from blurnet.attacks.ball.square import Square, _spikes
from blurnet.balls import Ball


@pytest.mark.parametrize("ball", [Ball("linf", 0.1), Ball("l2", 1.5)], ids=repr)
def test_the_whole_budget_is_used(ball, problem):
    attack = Square(ball, steps=30, stop=False)
    adversarial = attack(problem.net, problem.images, problem.labels)
    assert ball.contains(adversarial, problem.images, 1e-6).all()
    # Images lie in [0.25, 0.75], so that the box takes nothing away.
    distance = ball.distance(adversarial, problem.images)
    torch.testing.assert_close(distance, torch.full_like(distance, ball.radius), rtol=0.01, atol=0)


def test_spikes_have_two_signs_and_peaks_inside():
    shape = _spikes(10)
    assert shape.shape == (10, 10)
    assert (shape[:5] > 0).all()
    assert (shape[5:] < 0).all()
    assert torch.equal(shape[:5], -shape[5:])
    assert shape[2, 4] == shape.max()
    assert shape[0, 0] == pytest.approx(1 / 9)  # n = 2: 1 / (n + 1)^2 at the edge
    assert shape.max() == pytest.approx(1 / 9 + 1 / 4 + 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Square(Ball("l1", 1)), "ball: expected one of .'linf', 'l2'., got 'l1'"),
        (lambda: Square(Ball("l2", 1), steps=-1), "steps: expected from 0, got -1"),
    ],
)
def test_bad_settings_raise(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_ball_is_a_ball():
    with pytest.raises(TypeError, match=r"Square ball: expected Ball, got 0.1"):
        Square(0.1)
