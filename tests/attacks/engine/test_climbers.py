"""Ascents against values computed by hand and against torch's own optimiser."""

import pytest
import torch

from blurnet.attacks.engine.climbers import Adam, Auto, Momentum, Sign, checkpoints, climber


def free(x):
    return x


def box(x):
    return x.clamp(0, 1)


def climb(mover, start, steps, project=box, function=lambda v: -(v - 0.3).square().sum(1)):
    """The variables after each step of an ascent of ``function``."""
    v, path = start, [start]
    for _ in range(steps):
        v = v.detach().requires_grad_()
        value = function(v)
        (gradient,) = torch.autograd.grad(value.sum(), [v])
        v = mover.step(v.detach(), gradient, value.detach(), project)
        path.append(v)
    return path


def test_sign_steps():
    path = climb(Sign(0.25), torch.tensor([[0.9, 0.0]]), 3)
    torch.testing.assert_close(torch.cat(path), torch.tensor([[0.9, 0], [0.65, 0.25], [0.4, 0.5], [0.15, 0.25]]))


def test_momentum_steps_by_hand():
    """The old course outweighs a gradient of less than 0.9 of it; steps of 0.4, 0.3, 0.2, 0.1."""
    mover, v = Momentum(4, 0.4), torch.tensor([[0.0, 0.0]])
    pulls = [[3.0, 1.0], [-1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]
    # Of mean magnitude 1: (1.5, 0.5), then sums (0.35, -0.55), (-0.685, 0.505), (-1.6165, -0.5455).
    wanted = [[0.4, 0.4], [0.7, 0.1], [0.5, 0.3], [0.4, 0.2]]
    for pull, point in zip(pulls, wanted, strict=True):
        v = mover.step(v, torch.tensor([pull]), torch.zeros(1), free)
        torch.testing.assert_close(v, torch.tensor([point]))


def test_momentum_of_some_rows(generator):
    start = torch.rand(3, 4, generator=generator, dtype=torch.float64)
    together, alone = Momentum(30), Momentum(30)
    wanted = climb(together, start, 30)[-1]
    middle = climb(alone, start, 12)[-1]
    alone.keep(torch.tensor([False, True, False]))
    torch.testing.assert_close(climb(alone, middle[1:2], 18)[-1], wanted[1:2])


def test_adam_is_torchs(generator):
    start = torch.rand(3, 5, generator=generator, dtype=torch.float64)
    mine = climb(Adam(0.1), start, 20, free)[-1]
    theirs = start.clone().requires_grad_()
    adam = torch.optim.Adam([theirs], lr=0.1)
    for _ in range(20):
        theirs.grad = 2 * (theirs.detach() - 0.3)
        adam.step()
    torch.testing.assert_close(mine, theirs.detach(), atol=1e-6, rtol=1e-6)


def test_checkpoints_are_apgds():
    """The list of the paper's code for 100 iterations."""
    assert sorted(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(0) == {0}
    assert all(step <= 3 for step in checkpoints(3))


def test_the_first_auto_steps_by_hand():
    """A sign step of 1, then three quarters of the next one and a quarter of the last move."""
    path = climb(Auto(100), torch.tensor([[0.9]]), 2)
    assert path[1].item() == 0
    # Aim: 0 + 1 = 1. Momentum: 0.75 * (1 - 0) + 0.25 * (0 - 0.9).
    assert path[2].item() == pytest.approx(0.75 - 0.225)


def test_auto_halves_and_returns_to_its_best():
    """The value only falls from the start on, so that each checkpoint sends the row back, at half the step."""
    mover, start = Auto(100, first=0.5), torch.tensor([[0.5]])

    def fall(v):
        return -v.sum(1) * (v.detach() == 0.5).squeeze(1)  # a gradient downhill at the start, none elsewhere

    climb(mover, start, 22, free, lambda v: fall(v) - 1.0 * (v.detach() != 0.5).squeeze(1))
    assert mover.rows["size"].item() == 0.5
    moved = mover.step(torch.tensor([[9.0]]), torch.tensor([[1.0]]), torch.tensor([-1.0]), free)
    assert mover.rows["size"].item() == 0.25
    assert moved.item() == 0.5 - 0.75 * 0.25  # from the best point, along its gradient, without the old course


def test_auto_ends_nearer_than_fixed_steps(generator):
    start = torch.rand(4, 6, generator=generator)
    for steps in (50, 100):
        auto, fixed = (climb(m, start, steps)[-1] for m in (Auto(steps), Sign(0.25)))
        assert ((auto - 0.3).abs().amax(1) < (fixed - 0.3).abs().amax(1)).all()
    assert (auto - 0.3).abs().max() < 0.05


@pytest.mark.parametrize("name", ["sign", "adam", "auto"])
def test_rows_do_not_know_each_other(name, generator):
    start = torch.rand(3, 4, generator=generator, dtype=torch.float64)
    together, alone = climber(name, 0.1, 30), climber(name, 0.1, 30)
    wanted = climb(together, start, 30)[-1]
    middle = climb(alone, start, 12)[-1]
    alone.keep(torch.tensor([False, True, False]))
    torch.testing.assert_close(climb(alone, middle[1:2], 18)[-1], wanted[1:2])


def test_unknown_names_raise():
    with pytest.raises(ValueError, match=r"^optimizer: expected one of \['sign', 'adam', 'auto'\], got 'sgd'"):
        climber("sgd", 0.1, 3)
