"""Some mask hides the whole patch, wherever it lies."""

import itertools

import pytest
import torch

from blurnet.certified.mask_set import MaskSet
from blurnet.masks import RP2_STICKERS, box_masks, grid_boxes
from tests.certified.toys import plain_masks


def test_what_covers_says_is_what_pixels_say():
    """Of one patch: all of its pixels are behind a mask; of boxes at once: all of them behind the same one."""
    masks = MaskSet.of(8, 2, 3)
    for height, width in itertools.product(range(1, 6), repeat=2):
        places = grid_boxes((8, 8), (height, width))
        assert masks.covers(places[:, None]) == covered(masks, height, width)


def covered(masks: MaskSet, height: int, width: int) -> bool:
    """Every place of a patch lies inside a mask: of its pixels none is left by all masks."""
    patches = box_masks(masks.size, grid_boxes(masks.size, (height, width)))[:, 0].bool().flatten(1)
    left = ~masks.hidden().flatten(1)
    return bool(((patches.float() @ left.float().T) == 0).any(1).all())


@pytest.mark.parametrize("n", [5, 8, 13, 32])
@pytest.mark.parametrize("k", [2, 3, 4, 6])
def test_every_square_lies_inside_a_mask(n, k):
    for p in range(1, n):
        masks = MaskSet.of(n, p, k)
        assert len(masks) <= k * k
        assert covered(masks, p, p), (n, p, k)
        assert all(covered(masks, q, q) for q in (1, max(p - 1, 1)))


@pytest.mark.parametrize("k", [2, 3, 5])
def test_every_patch_of_any_form_lies_inside_a_mask(k):
    size = 9, 14
    for height, width in itertools.product(range(1, 10), range(1, 15)):
        if (height, width) != size:
            assert covered(MaskSet.of(size, (height, width), k), height, width), (height, width)


def test_sizes_are_those_of_the_paper():
    """224 pixels: 32 pixels of patch, 36 masks of 64; 23 of 56, 39 of 69, 50 of 79; 9 masks of 96 and so on."""
    for p, six, three in ((23, 56, 90), (32, 64, 96), (39, 69, 100), (50, 79, 108)):
        for k, width in ((6, six), (3, three)):
            masks = MaskSet.of(224, p, k)
            assert len(masks) == k * k
            assert {(box[1] - box[0], box[3] - box[2]) for (box,) in masks.masks} == {(width, width)}


@pytest.mark.parametrize(("n", "p", "k"), [(8, 2, 3), (32, 7, 4), (32, 7, 6), (17, 5, 3)])
def test_masks_are_those_of_the_formula(n, p, k):
    wanted = [(r.start, r.stop, c.start, c.stop) for r, c in plain_masks(n, p, k)]
    assert [box for (box,) in MaskSet.of(n, p, k).masks] == wanted


@pytest.mark.parametrize("area", [1, 6, 16, 49])
def test_rectangles_of_any_form(area):
    masks = MaskSet.rectangles(16, area, 3)
    for height in range(1, min(area, 16) + 1):
        assert covered(masks, height, min(area // height, 16)), height
    assert f"at most {area} pixels" in masks.threat


def test_two_patches():
    """Each choice of two places lies inside a mask of two rectangles."""
    one, two = MaskSet.of(8, 2, 3), MaskSet.of(8, (1, 3), 2)
    both = MaskSet.together(one, two)
    small, wide = grid_boxes((8, 8), 2).tolist(), grid_boxes((8, 8), (1, 3)).tolist()
    assert all(both.covers(torch.tensor([[a, b]])) for a, b in itertools.product(small[::2], wide[::3]))
    assert len(both) <= len(one) * len(two)
    twice = MaskSet.together(one, one)
    assert len(twice) == 36  # of 9 masks, each two
    assert all(twice.covers(torch.tensor([[a, b]])) for a, b in itertools.product(small[::3], repeat=2))
    assert not one.covers(torch.tensor([[small[0], small[-1]]]))


@pytest.mark.parametrize("reach", [0, 1, 3, None])
@pytest.mark.parametrize("k", [2, 4])
def test_stickers_that_move_together(reach, k):
    masks = MaskSet.rp2(32, k, reach=reach)
    far = 32 if reach is None else reach
    seen = 0
    for y, x in itertools.product(range(-far, far + 1), repeat=2):
        moved = [(t + y, b + y, left + x, right + x) for t, b, left, right in RP2_STICKERS]
        if all(t >= 0 and b <= 32 and left >= 0 and right <= 32 for t, b, left, right in moved):
            assert masks.covers(torch.tensor([moved])), (y, x)
            seen += 1
    assert seen >= min((2 * far + 1) ** 2, 100)
    assert "2.9 % of 32x32" in masks.threat
    assert (len(masks) == 1) == (reach == 0)


def test_what_is_held_in_place_is_hidden_and_no_more():
    assert torch.equal(MaskSet.rp2(32).hidden()[0], box_masks((32, 32), torch.tensor(RP2_STICKERS))[:, 0].bool().any(0))


def test_threats_in_words():
    assert MaskSet.of(32, 7, 4).threat == "one 7x7-pixel patch (4.8 % of 32x32), anywhere"
    assert repr(MaskSet.of((30, 40), (2, 6), 2)) == "MaskSet(4 masks, one 2x6-pixel patch (1.0 % of 30x40), anywhere)"
    assert "moved by at most 2 pixels" in MaskSet.rp2(reach=2).threat


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MaskSet.of(8, 8, 3), "8x8 pixels fill the 8x8 image"),
        (lambda: MaskSet.of(8, 9, 3), "9x9 pixels at .* do not fit 8x8"),
        (lambda: MaskSet.of(8, 0, 3), "patch: expected pixels"),
        (lambda: MaskSet.of((8, 8, 3), 2, 3), "image_size: expected pixels"),
        (lambda: MaskSet.of(8, 2, 1), "masks: expected from 2"),
        (lambda: MaskSet.of(8, 2, True), "masks: expected from 2"),
        (lambda: MaskSet.rectangles(8, 0, 3), "area: expected from 1 to below 64 pixels"),
        (lambda: MaskSet.rectangles(8, 64, 3), "area: expected from 1"),
        (lambda: MaskSet.together(MaskSet.of(8, 2, 3)), "two sets or more .* got 8x8"),
        (lambda: MaskSet.together(MaskSet.of(8, 2, 3), MaskSet.of(9, 2, 3)), "one size, got 8x8, 9x9"),
        (lambda: MaskSet((8, 8), "all", (((0, 8, 0, 8),),)), "hides the whole image"),
        (lambda: MaskSet((8, 8), "none", ()), "at least one mask"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
