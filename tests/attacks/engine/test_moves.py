"""Random changes of a patch: squares on it, steps over the image."""

import math

import torch

from blurnet.attacks.engine.moves import PatchMoves
from blurnet.attacks.engine.search import coverage


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
