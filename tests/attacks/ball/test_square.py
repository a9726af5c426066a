"""Random search: its draws, its bookkeeping, its moves."""

import copy
import math
from itertools import pairwise

import pytest
import torch

from blurnet.attacks.ball.square import Square, _spikes
from blurnet.attacks.engine.losses import margin
from blurnet.attacks.engine.moves import PatchMoves
from blurnet.attacks.engine.search import coverage
from blurnet.attacks.patch.random_search import PatchRandomSearch
from blurnet.balls import Ball
from blurnet.masks import Place, box_masks, rp2_stickers

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


def test_a_free_patch_is_one_square_and_moves(problem):
    record = PatchRandomSearch(0.1, steps=80, stop=False).record(problem.net, problem.images, problem.labels)
    inside = box_masks((16, 16), record.box).bool()
    changed = (record.adversarial != problem.images).any(dim=1, keepdim=True)
    assert not (changed & ~inside).any()
    assert (inside.flatten(1).sum(1) == 25).all()  # 10 % of 256 pixels
    assert len({tuple(box) for box in record.box.tolist()}) > 1


@pytest.mark.parametrize("attack", [PatchRandomSearch, "square"], ids=str)
def test_targets_are_reached(attack, problem):
    attack = Square(Ball("linf", 0.3), target=0) if attack == "square" else PatchRandomSearch(0.3, target=0)
    adversarial = attack(problem.net, problem.images, problem.labels)
    assert (problem.net(adversarial).argmax(1) == 0).float().mean() >= 0.8


def test_masks_of_any_shape_are_filled(problem):
    """Stickers fill a small part of their box; every one of them is recoloured, nothing else is touched."""
    mask = rp2_stickers(16)
    adversarial = PatchRandomSearch(mask=mask, steps=100, stop=False)(problem.net, problem.images, problem.labels)
    changed = (adversarial != problem.images).any(dim=1, keepdim=True)
    assert torch.equal(changed, mask.bool().expand_as(changed))
    assert set(adversarial[:, :, mask[0, 0].bool()].unique().tolist()) <= {0.0, 1.0}


def test_squares_shrink_and_stay_on_the_patch(problem):
    moves = PatchMoves(problem.images, None, 0.25, 0.4, 5, 0)  # 8 x 8 pixels
    sizes = {}
    for step in range(1, 3001):
        if step % 5 == 0:
            continue
        moves.propose(step)
        changed = (moves.proposal[0] != moves.patch).any(dim=1).flatten(1).sum(1)
        sizes.setdefault(coverage(0.4, step), []).append(int(changed.max()))
    # The side is the rounded root of the share of 64 pixels, never below one.
    assert {share: max(found) for share, found in sizes.items()} == {
        share: max(1, round(math.sqrt(share * 64))) ** 2 for share in sizes
    }
    assert len(sizes) == 7


def test_moves_reach_every_corner_and_stay_inside(problem):
    moves = PatchMoves(problem.images, None, 0.25, 0.4, 1, 0)
    seen = set()
    for step in range(1, 300):
        moves.propose(step)
        moves.accept(torch.ones(8, dtype=torch.bool))
        seen.add(tuple(moves.corner[0].tolist()))
    assert {(0, 0), (0, 8), (8, 0), (8, 8)} <= seen
    assert all(0 <= v <= 8 for corner in seen for v in corner)


@pytest.mark.parametrize("ball", BALLS, ids=repr)
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


def test_plateaus_are_walked(problem):
    """A model that gives the same logits everywhere accepts every proposal, so that the search does not stand."""
    flat = PatchRandomSearch(0.1, steps=30)(lambda x: torch.zeros(len(x), 5), problem.images, problem.labels * 0)
    start = PatchRandomSearch(0.1, steps=0)(lambda x: torch.zeros(len(x), 5), problem.images, problem.labels * 0)
    assert (flat != start).flatten(1).any(1).all()


def test_the_report_line_names_what_binds(problem):
    assert repr(PatchRandomSearch(0.1)).startswith("PatchRandomSearch(area=0.1, mask=None, steps=1000")
    assert "area" not in repr(PatchRandomSearch(mask=problem.mask))
    assert "mask=Place(area=0.2" in repr(PatchRandomSearch(mask=Place(0.2)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PatchRandomSearch(0), "area: expected a share of the image in .*, got 0"),
        (lambda: PatchRandomSearch(steps=-1), "steps: expected from 0, got -1"),
        (lambda: PatchRandomSearch(share=1.5), "share: expected a share in .*, got 1.5"),
        (lambda: PatchRandomSearch(move_every=0), "move_every: expected from 1, got 0"),
        (lambda: PatchRandomSearch(target="third"), "target: expected one of .'second'"),
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


def test_on_the_authors_net(authors_net, victims):
    x, y = victims[:10], torch.full((10,), 14)
    adversarial = PatchRandomSearch(0.1, steps=200)(authors_net, x, y)
    with torch.no_grad():
        assert (authors_net(adversarial).argmax(1) != 14).sum() >= 9
