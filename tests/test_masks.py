"""Masks: the published stickers, the octagon, boxes and images."""

import math

import pytest
import torch
from PIL import Image

from blurnet.masks import RP2_STICKERS, mask_from_image, octagon, rectangles, rp2_stickers


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
