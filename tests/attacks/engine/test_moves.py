"""Random changes of a patch: squares on it, steps over the image."""

import math

import pytest
import torch

from blurnet.attacks.engine.moves import PatchMoves
from blurnet.attacks.engine.search import coverage
from blurnet.masks import Place, box_masks


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


@pytest.mark.parametrize("mask", [None, Place(0.2)], ids=repr)
def test_only_accepted_rows_change_and_only_kept_ones_remain(mask, problem):
    moves = PatchMoves(problem.images, mask, 0.25, 0.4, 2, 0)
    rows = torch.tensor([True, False] * 4)
    for step in (1, 2):  # a square, then a move where the place is free
        before, proposal = moves.start(), moves.propose(step)
        assert not torch.equal(before, proposal)
        moves.accept(rows)
        assert torch.equal(moves.start(), torch.where(rows.view(-1, 1, 1, 1), proposal, before))
    left, boxes = moves.start(), moves.boxes()
    changed = (left != problem.images).any(1, keepdim=True)
    assert not (changed & (box_masks((16, 16), boxes) == 0)).any()
    moves.keep(~rows)
    assert torch.equal(moves.start(), left[~rows])
    assert torch.equal(moves.boxes(), boxes[~rows])
