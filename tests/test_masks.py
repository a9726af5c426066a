"""Masks: the published stickers, the octagon, boxes and images."""

import math

import pytest
import torch
from PIL import Image

from blurnet.masks import (
    RP2_STICKERS,
    Place,
    box_masks,
    circle,
    content_hash,
    grid_boxes,
    mask_boxes,
    mask_from_image,
    masks_of,
    octagon,
    patch_side,
    rectangles,
    rp2_stickers,
    square,
)


def test_rectangles():
    mask = rectangles((4, 6), [(0, 2, 1, 3), (1, 4, 2, 6)])
    assert mask.shape == (1, 1, 4, 6)
    assert mask.sum() == 4 + 12 - 1
    assert mask[0, 0, 0, 1] == 1
    assert mask[0, 0, 0, 3] == 0


@pytest.mark.parametrize("box", [(0, 5, 0, 1), (0, 0, 0, 1), (2, 1, 0, 1), (-1, 1, 0, 1), (0, 1, 3, 7)], ids=str)
def test_boxes_that_leave_the_image_raise(box):
    with pytest.raises(ValueError, match="is empty or leaves the 4x6 image"):
        rectangles((4, 6), [box])


def test_stickers():
    assert len(RP2_STICKERS) == 4
    mask = rp2_stickers()
    assert mask.shape == (1, 1, 32, 32)
    assert mask.sum() == 30
    assert torch.equal(mask, rectangles((32, 32), RP2_STICKERS))
    doubled = rp2_stickers(64)
    assert torch.equal(doubled, mask.repeat_interleave(2, -1).repeat_interleave(2, -2))
    assert rp2_stickers(8).sum() >= 4  # no sticker vanishes


def test_octagon():
    mask = octagon(400)
    assert mask.shape == (1, 1, 400, 400)
    assert math.isclose(mask.mean().item(), 2 * math.sqrt(2) - 2, abs_tol=0.005)
    for symmetric in (mask.flip(-1), mask.flip(-2), mask.mT):
        assert torch.equal(mask, symmetric)


def test_mask_from_image(tmp_path):
    image = Image.new("RGB", (7, 5))
    image.paste((255, 255, 255), (2, 1, 4, 3))
    image.putpixel((4, 4), (2, 2, 2))  # stray values count as background
    image.save(tmp_path / "mask.png")
    assert torch.equal(mask_from_image(tmp_path / "mask.png"), rectangles((5, 7), [(1, 3, 2, 4)]))
    Image.new("RGB", (7, 5)).save(tmp_path / "black.png")
    with pytest.raises(ValueError, match=r"black\.png: no pixel is brighter"):
        mask_from_image(tmp_path / "black.png")


def test_published_masks(shared_data):
    masks = shared_data / "rp2-lisa" / "masks"
    (stickers,) = (p for p in masks.glob("*.png") if "rectangles" in p.name)
    assert torch.equal(mask_from_image(stickers), rp2_stickers())
    published = mask_from_image(masks / "octagon.png")
    assert math.isclose(published.mean().item(), 0.824, abs_tol=0.01)
    assert (published == octagon()).float().mean() > 0.9


def test_patch_side_is_the_nearest_square():
    assert patch_side((299, 299), 0.0197) == 42  # LGS's masks
    assert patch_side((32, 32), 0.1) == 10
    assert patch_side((32, 32), 1e-6) == 1
    assert patch_side((20, 40), 0.5) == 20
    for area in (0, -0.1, 1.01, float("nan")):
        with pytest.raises(ValueError, match="area: expected a share"):
            patch_side((32, 32), area)
    with pytest.raises(ValueError, match="a square of 28 pixels does not fit 20x40"):
        patch_side((20, 40), 1.0)


def test_square_and_circle_cover_their_area():
    assert torch.equal(square((9, 12), 1 / 12), rectangles((9, 12), [(3, 6, 4, 7)]))
    for area in (0.02, 0.1, math.pi / 4):
        disc = circle((200, 200), area)
        assert disc.shape == (1, 1, 200, 200)
        assert math.isclose(disc.mean().item(), area, rel_tol=0.02)
        assert torch.equal(disc, disc.flip(-1))
        assert torch.equal(disc, disc.mT)
    assert circle((4, 4), 1e-9).sum() == 4  # the four pixels around the centre
    with pytest.raises(ValueError, match=r"a disc .* does not fit 20x40"):
        circle((20, 40), 0.5)


def test_box_masks():
    boxes = torch.tensor([[0, 2, 1, 3], [1, 4, 2, 6]])
    masks = box_masks((4, 6), boxes)
    assert torch.equal(masks, torch.cat([rectangles((4, 6), [tuple(b)]) for b in boxes.tolist()]))
    assert torch.equal(mask_boxes(masks), boxes)
    assert mask_boxes(torch.zeros(1, 1, 4, 6)).tolist() == [[-1] * 4]
    for bad in ([0, 5, 0, 1], [2, 1, 0, 1], [-1, 1, 0, 1]):
        with pytest.raises(ValueError, match="is empty or leaves the 4x6 image"):
            box_masks((4, 6), torch.tensor([[0, 1, 0, 1], bad]))
    with pytest.raises(ValueError, match=r"expected integers of shape \(N, 4\)"):
        box_masks((4, 6), boxes.float())


@pytest.mark.parametrize("stride", [1, 2, 3, 5, 100])
def test_every_position_is_reachable_the_last_included(stride):
    boxes = grid_boxes((11, 14), (3, 5), stride)
    tops, lefts = ({*range(0, last + 1, stride), last} for last in (8, 9))
    assert sorted(map(tuple, boxes.tolist())) == sorted((t, t + 3, le, le + 5) for t in tops for le in lefts)
    corners = box_masks((11, 14), boxes).amax(dim=0)[0]
    assert corners[0, 0] == corners[0, -1] == corners[-1, 0] == corners[-1, -1] == 1


def test_grids_that_do_not_fit_raise():
    assert grid_boxes((4, 4), 4).tolist() == [[0, 4, 0, 4]]
    for patch in (0, 5, (4, 5)):
        with pytest.raises(ValueError, match="do not fit 4x4"):
            grid_boxes((4, 4), patch)
    with pytest.raises(ValueError, match="stride: expected at least 1"):
        grid_boxes((4, 4), 2, 0)


@pytest.mark.parametrize("where", ["border", "anywhere"])
def test_places_reach_every_allowed_position(where, generator):
    images = torch.rand(1000, 3, 6, 7, generator=generator)
    boxes = Place(4 / 42, where).boxes(images)
    every = grid_boxes((6, 7), 2)
    allowed = [b for b in every.tolist() if where == "anywhere" or b[0] == 0 or b[1] == 6 or b[2] == 0 or b[3] == 7]
    found, counts = boxes.unique(dim=0, return_counts=True)
    assert sorted(found.tolist()) == sorted(allowed)
    # About equally often: six deviations of a binomial count.
    expected = 1000 / len(allowed)
    assert (counts - expected).abs().max() < 6 * math.sqrt(expected)


def test_a_place_follows_from_the_image_alone(generator):
    images, place = torch.rand(20, 3, 8, 8, generator=generator), Place(0.1, "anywhere")
    together = place.boxes(images)
    assert torch.equal(together, torch.cat([place.boxes(x[None]) for x in images]))
    assert torch.equal(together.flip(0), place.boxes(images.flip(0)))
    assert torch.equal(together, place.boxes(images.double()))
    assert not torch.equal(together, Place(0.1, "anywhere", seed=1).boxes(images))
    assert torch.equal(mask_boxes(place.masks(images)), together)


def test_the_centre_is_the_square():
    images = torch.zeros(3, 3, 9, 14)
    assert torch.equal(Place(0.1, "center").masks(images), square((9, 14), 0.1).expand(3, -1, -1, -1))


def test_bad_places_raise():
    with pytest.raises(ValueError, match=r"Place area: .* got 0"):
        Place(0)
    with pytest.raises(ValueError, match=r"Place where: expected one of .*'border'.* got 'edge'"):
        Place(0.1, "edge")
    with pytest.raises(ValueError, match="images: "):
        Place(0.1).boxes(torch.ones(1, 3, 8, 8) * 2)


def test_masks_of_a_tensor_or_a_place():
    images = torch.zeros(2, 3, 4, 6)
    one = rectangles((4, 6), [(0, 2, 1, 3)])
    for shape in ((4, 6), (1, 4, 6), (1, 1, 4, 6)):
        assert torch.equal(masks_of(one.view(shape), images), one.bool().expand(2, -1, -1, -1))
    place = Place(0.1)
    assert torch.equal(masks_of(place, images), place.masks(images).bool())
    with pytest.raises(ValueError, match="patch: expected one of"):
        masks_of(torch.ones(6, 4), images, "patch")


def test_hashes_of_equal_pixels_are_equal(generator):
    x = torch.rand(50, 3, 5, 5, generator=generator)
    hashes = content_hash(x, 0)
    assert torch.equal(hashes, content_hash(x.double(), 0))
    assert len(hashes.unique()) == 50
    assert int(hashes.min()) >= 0
    x[:, 0, 0, 0] = (x[:, 0, 0, 0] + 0.5) % 1  # one value of an image is enough
    assert (content_hash(x, 0) != hashes).all()
