"""What an attack may change: which results are allowed, and the line that says so."""

import pytest
import torch

from blurnet.balls import Ball
from blurnet.evaluation.threats import InBall, InMask, Nearest, SquarePatch, changed_box

CLEAN = torch.full((5, 3, 8, 8), 0.5)


def changed(*boxes: tuple[int, int, int, int] | None) -> torch.Tensor:
    """The clean images, each with one channel changed at two corners of a box; None: as it was."""
    images = CLEAN[: len(boxes)].clone()
    for image, box in zip(images, boxes, strict=True):
        if box is not None:
            top, bottom, left, right = box
            image[1, top, left] = image[1, bottom - 1, right - 1] = 0.75
    return images


def test_the_box_of_a_change():
    images = changed(None, (0, 1, 7, 8), (2, 5, 1, 8))
    assert changed_box(CLEAN[:3], images).tolist() == [[-1] * 4, [0, 1, 7, 8], [2, 5, 1, 8]]


def test_a_square_patch_holds_all_changes():
    images = changed(None, (4, 8, 4, 8), (0, 4, 3, 4), (0, 5, 0, 1), (0, 1, 2, 7))
    assert SquarePatch(0.25).broken(CLEAN, images).tolist() == [False, False, False, True, True]  # 4 x 4 pixels
    assert SquarePatch(1.0).broken(CLEAN, images).tolist() == [False] * 5


def test_a_mask_holds_all_changes():
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :2, :4] = 1
    threat = InMask("corner", mask)
    images = changed(None, (0, 2, 0, 4), (0, 2, 0, 5), (0, 3, 0, 1))
    assert threat.broken(CLEAN[:4], images).tolist() == [False, False, True, True]
    with pytest.raises(ValueError, match="mask corner"):
        threat.broken(torch.zeros(1, 3, 9, 9), torch.zeros(1, 3, 9, 9))


def test_a_ball_holds_the_distance():
    images = changed(None, (0, 1, 0, 1), (0, 2, 0, 2))
    assert InBall(Ball("linf", 0.25)).broken(CLEAN[:3], images).tolist() == [False] * 3
    assert InBall(Ball("linf", 0.2)).broken(CLEAN[:3], images).tolist() == [False, True, True]
    assert InBall(Ball("l2", 0.3)).broken(CLEAN[:3], images).tolist() == [False, False, True]  # 0.25 and 0.354


def test_the_nearest_may_go_anywhere():
    assert Nearest().broken(CLEAN, 1 - CLEAN).tolist() == [False] * 5
    assert not Nearest().local


def test_the_lines_of_the_report():
    assert Nearest().text == "the whole image at any distance, as little as fools"
    assert SquarePatch(0.05).text == "one square patch of 5 % of the image, anywhere"
    assert InMask("box", torch.eye(8)[None, None]).text == "inside the mask box (12.5 % of the image)"
    assert InBall(Ball("linf", 8 / 255)).text == "the whole image, linf at most 8/255"
    assert InBall(Ball("l2", 0.5)).text == "the whole image, l2 at most 0.5"
    assert [threat.local for threat in (SquarePatch(0.1), InMask("box", CLEAN), InBall(Ball("l2", 1)))] == [1, 0, 0]


@pytest.mark.parametrize(("area", "message"), [(0.0, "above 0 and at most 1, got 0.0"), (1.5, "at most 1, got 1.5")])
def test_bad_areas_raise(area, message):
    with pytest.raises(ValueError, match=message):
        SquarePatch(area)


def test_a_patch_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        SquarePatch(0.9).broken(torch.zeros(1, 3, 4, 12), torch.zeros(1, 3, 4, 12))


def test_patches_are_all_that_may_change():
    """A square at each place; of a mask the rows of its pixels, changed at once; of a ball the whole image."""
    squares = SquarePatch(0.25).patches((8, 8))
    assert squares.shape == (25, 1, 4)
    mask = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)).round()
    rows = InMask("any", mask).patches((8, 8))
    assert rows.shape[0] == 1
    found = torch.zeros(8, 8)
    for top, bottom, left, right in rows[0].tolist():
        found[top:bottom, left:right] += 1
    assert torch.equal(found, mask[0, 0])
    assert InBall(Ball("linf", 0.1)).patches((8, 8)) is None
