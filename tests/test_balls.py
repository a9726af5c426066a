"""Balls: start, step, projection and distance, against double precision and brute force."""

import math

import pytest
import torch
from torch import Tensor

from blurnet.balls import Ball

BALLS = [Ball("linf", 0.1), Ball("l2", 1.5), Ball("l1", 12.0)]
each = pytest.mark.parametrize("ball", BALLS, ids=lambda b: b.norm)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def centres(n: int = 5) -> Tensor:
    """Images of which a third of the values lies on an edge of the box."""
    return (torch.rand(n, 3, 8, 9, generator=seeded()) * 1.5 - 0.25).clamp(0, 1)


def far(scale: float, n: int = 5) -> Tensor:
    g = seeded(1)
    return centres(n) + scale * torch.randn(n, 3, 8, 9, generator=g) * torch.rand(n, 3, 8, 9, generator=g) ** 3


def nearest(y: Tensor, x: Tensor, ball: Ball) -> Tensor:
    """The nearest point in double precision, by bisection on the scale (l2) or threshold (l1) of the optimum."""
    y, x = y.double().flatten(1), x.double().flatten(1)
    d = y - x
    size, room = d.abs(), torch.where(d > 0, 1 - x, x)
    if ball.norm == "linf":
        return x + torch.minimum(size.clamp(max=ball.radius), room) * d.sign()

    def shrink(t: Tensor) -> Tensor:
        moved = size * t if ball.norm == "l2" else (size - (1 - t) * size.amax(1, keepdim=True)).clamp(min=0)
        return torch.minimum(moved, room)

    order = 2 if ball.norm == "l2" else 1
    low, high = torch.zeros(len(x), 1, dtype=x.dtype), torch.ones(len(x), 1, dtype=x.dtype)
    if_whole = shrink(high).norm(order, dim=1, keepdim=True) <= ball.radius
    for _ in range(60):
        middle = (low + high) / 2
        inside = shrink(middle).norm(order, dim=1, keepdim=True) <= ball.radius
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    return x + shrink(torch.where(if_whole, 1.0, low)) * d.sign()


def holds(ball: Ball, adversarial: Tensor, images: Tensor) -> bool:
    boxed = adversarial.min() >= 0 and adversarial.max() <= 1
    return bool(boxed and (ball.distance(adversarial, images) <= ball.radius * (1 + 1e-6)).all())


@each
@pytest.mark.parametrize("scale", [0.001, 0.1, 1.0, 10.0])
def test_projection_is_the_nearest_point_in_ball_and_box(ball, scale):
    y, x = far(scale), centres()
    out = ball.project(y, x)
    assert holds(ball, out, x)
    torch.testing.assert_close(out.double().flatten(1), nearest(y, x, ball), atol=5e-6, rtol=0)
    torch.testing.assert_close(ball.project(out, x), out, atol=1e-6, rtol=0)


@each
def test_projection_is_optimal(ball):
    """No feasible point is nearer: y - p makes no acute angle with the way to any of them."""
    y, x = far(1.0).double(), centres().double()
    p = ball.project(y, x)
    for seed in range(20):
        other = ball.start(x, seeded(seed))
        assert (((y - p) * (other - p)).flatten(1).sum(1) <= 1e-4).all()


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_one_value_may_fill_its_box_and_leave_the_budget_to_others(norm):
    """Values with no room must not use up the ball, and a slow path of Newton's rounds must still arrive."""
    x = torch.full((1, 3, 4, 4), 0.05)
    y = x.clone()
    y[0, 0, 0, 0], y[0, 0, 0, 1] = 20.0, 19.0 if norm == "l1" else 2.0
    out = Ball(norm, 1.0).project(y, x) - x
    assert out[0, 0, 0, 0] == pytest.approx(0.95)
    wanted = 0.05 if norm == "l1" else math.sqrt(1 - 0.95**2)
    assert out[0, 0, 0, 1] == pytest.approx(wanted, abs=1e-5)


@each
def test_projection_alone_equals_in_a_batch_and_keeps_the_inputs(ball):
    y, x = far(0.5), centres()
    before = y.clone(), x.clone()
    together = ball.project(y, x)
    assert torch.equal(y, before[0])
    assert torch.equal(x, before[1])
    for i in range(len(x)):
        torch.testing.assert_close(ball.project(y[i : i + 1], x[i : i + 1])[0], together[i], atol=1e-6, rtol=0)


@each
def test_no_radius_is_the_identity(ball):
    none = Ball(ball.norm, 0.0)
    assert torch.equal(none.project(far(0.5), centres()), centres())
    assert torch.equal(none.start(centres(), seeded()), centres())


@each
def test_start_is_one_draw_for_all_inside_and_repeatable(ball):
    x = torch.full((3, 3, 8, 9), 0.5)
    out = ball.start(x, seeded(3))
    assert holds(ball, out, x)
    assert torch.equal(out[0], out[2])
    assert torch.equal(out, ball.start(x, seeded(3)))
    assert not torch.equal(out, ball.start(x, seeded(4)))
    assert torch.equal(out[:1], ball.start(x[:1], seeded(3)))
    assert holds(ball, ball.start(centres(), seeded()), centres())


@each
def test_start_is_uniform_in_the_ball(ball):
    """In d dimensions half of the draws lie beyond the share 2^(-1/d) of the radius; d = 3 is easy to see."""
    x, g = torch.full((1, 3, 1, 1), 0.5), seeded()
    small = Ball(ball.norm, 0.1)
    reached = torch.cat([small.distance(small.start(x, g), x) for _ in range(400)]) / 0.1
    assert reached.max() <= 1 + 1e-5
    assert abs(float((reached < 0.5 ** (1 / 3)).float().mean()) - 0.5) < 0.1


@each
def test_step_has_its_length_and_climbs(ball):
    gradient = torch.randn(5, 3, 8, 9, generator=seeded())
    step = ball.step(gradient, 0.3)
    torch.testing.assert_close(ball.distance(step, torch.zeros_like(step)), torch.full((5,), 0.3))
    assert ((step * gradient).flatten(1).sum(1) > 0).all()
    assert torch.equal(ball.step(torch.zeros_like(gradient), 0.3), torch.zeros_like(gradient))
    torch.testing.assert_close(ball.step(gradient * 1e-30, 0.3), step)  # a small gradient is as good as any


def test_steepest_steps_by_hand():
    gradient = torch.tensor([3.0, -4.0, 0.0]).view(1, 3, 1, 1)
    wanted = {"linf": [0.1, -0.1, 0.0], "l2": [0.06, -0.08, 0.0], "l1": [0.0, -0.1, 0.0]}
    for norm, values in wanted.items():
        torch.testing.assert_close(Ball(norm, 1.0).step(gradient, 0.1).flatten(), torch.tensor(values))


def test_l1_step_passes_over_values_that_would_leave_the_box():
    gradient = torch.tensor([3.0, -4.0, 5.0]).view(1, 3, 1, 1)
    at = torch.tensor([0.5, 0.0, 1.0]).view(1, 3, 1, 1)
    assert Ball("l1", 1.0).step(gradient, 0.1, at).flatten().tolist() == pytest.approx([0.1, 0, 0])


def test_l1_step_moves_one_percent_of_the_values():
    step = Ball("l1", 1.0).step(torch.randn(2, 3, 20, 20, generator=seeded()), 0.5)
    assert (step != 0).flatten(1).sum(1).tolist() == [12, 12]


@each
def test_contains(ball):
    x = torch.full((2, 3, 8, 9), 0.5)
    out = ball.start(x, seeded())
    out[1] = 0.5 + 1.1 * ball.radius / (216 if ball.norm == "l1" else math.sqrt(216) if ball.norm == "l2" else 1)
    assert ball.contains(out, x).tolist() == [True, False]
    out[0, 0, 0, 0] = torch.nan
    assert ball.contains(out, x).tolist() == [False, False]


def test_the_linf_edge_is_inside():
    """Rounding of x + radius: the test lo <= adv <= hi accepts what |adv - x| <= radius may reject."""
    x = torch.rand(1, 3, 30, 30, generator=seeded())
    ball = Ball("linf", 8 / 255)
    edge = ball.project(x + 1, x)
    assert (edge <= (x + 8 / 255).clamp(max=1)).all()
    assert ball.contains(edge, x).all()


@each
def test_precision_and_device_of_the_images_are_kept(ball):
    x = centres().double()
    assert ball.start(x, seeded()).dtype == torch.float64
    assert ball.project(x + 0.5, x).dtype == torch.float64
    assert ball.distance(x, x).tolist() == [0.0] * 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("l3", 0.1), "expected one of"),
        (("linf", -0.1), "from 0"),
        (("l2", math.nan), "finite"),
        (("l1", math.inf), "finite"),
    ],
)
def test_bad_settings_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        Ball(*settings)


def test_is_a_value():
    assert repr(Ball("linf", 0.5)) == "Ball(norm='linf', radius=0.5)"
    assert Ball("l2", 1.0) == Ball("l2", 1.0)
    assert len({Ball("l2", 1.0), Ball("l2", 1.0)}) == 1
