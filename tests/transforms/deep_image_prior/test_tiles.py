"""Tiles of a prior."""

import itertools

import pytest
import torch

from blurnet.data.synthetic.maps import render_map
from blurnet.transforms.deep_image_prior import tiles
from blurnet.transforms.deep_image_prior.text import extract_text, residual, text_mask
from blurnet.transforms.deep_image_prior.tiles import tiled_prior


def test_tiles_put_together_are_the_whole(blurring) -> None:
    x = torch.rand(2, 3, 70, 100, generator=torch.Generator().manual_seed(3))
    whole = tiled_prior(x, (1, 5), tile=256)
    pieces = tiled_prior(x, (1, 5), tile=48, overlap=16)
    assert blurring == [(2, 3, 70, 100), (2 * 2 * 3, 3, 48, 48)]
    assert whole.shape == pieces.shape == (2, 2, 3, 70, 100)
    # Only a tile's own borders, whose weight is least, are blurred otherwise.
    assert (whole - pieces).abs().max() < 0.15
    assert (whole - pieces).abs().mean() < 0.01
    torch.testing.assert_close(pieces[..., :20, :20], whole[..., :20, :20])


@pytest.mark.parametrize(
    ("side", "tile", "overlap"), [(48, 48, 8), (49, 48, 8), (200, 48, 0), (90, 48, 47), (20, 48, 8)]
)
def test_tiles_cover_a_side(side: int, tile: int, overlap: int) -> None:
    starts = tiles._starts(side, tile, overlap)
    assert starts[0] == 0
    assert starts[-1] == max(side - tile, 0)
    assert all(0 < b - a <= tile - overlap for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at": (1,), "tile": 16}, "at least 32 pixels"),
        ({"at": (1,), "tile": 64, "overlap": 64}, "overlaps by less, got 64 and 64"),
    ],
)
def test_bad_tiles_raise(options, message, blurring) -> None:
    with pytest.raises(ValueError, match=message):
        tiled_prior(torch.zeros(1, 3, 40, 40), **options)
    assert not blurring


@pytest.mark.parametrize("at", [(), (0,), (-3,), (5, 3), (2, 2)])
def test_bad_iterations_raise(at: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"iterations"):
        tiled_prior(torch.zeros(1, 3, 40, 40), at)


def test_a_real_prior_draws_each_tile_as_if_it_were_alone() -> None:
    image = render_map((32, 56), 2, words=1).image[None]
    whole = tiled_prior(image, (1, 3), tile=32, overlap=8)
    assert whole.shape == (2, 1, 3, 32, 56)
    assert (whole[0] - whole[1]).abs().max() > 1e-3
    left = tiled_prior(image[..., :32], (1, 3))
    torch.testing.assert_close(whole[..., :24], left[..., :24])
    assert torch.equal(extract_text(image, 3, tile=32, overlap=8), text_mask(residual(image, 3, tile=32, overlap=8)))
