"""Text of maps from what a prior leaves undrawn."""

import pytest
import torch
from torch import Tensor

from blurnet.data.synthetic.maps import render_map
from blurnet.transforms.deep_image_prior import text
from blurnet.transforms.deep_image_prior.text import TextMaskSettings, extract_text, residual, text_mask
from blurnet.transforms.deep_image_prior.tiles import tiled_prior

#: Settings of tests whose components are bare rectangles.
OPEN = {"threshold": "absolute", "level": 0.5, "closing": 0, "least": 1, "largest": 1000, "aspect": 1000.0, "fill": 0.0}


def sheet(*boxes: tuple[int, int, int, int], value: float = 1.0) -> Tensor:
    """A residual (1, 3, 60, 80) of filled boxes (top, bottom, left, right)."""
    out = torch.zeros(1, 3, 60, 80)
    for top, bottom, left, right in boxes:
        out[..., top:bottom, left:right] = value
    return out


def test_the_mask_is_the_pixels_above_the_threshold() -> None:
    x = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    found = text_mask(x, **OPEN)
    assert (found.shape, found.dtype) == ((2, 1, 20, 30), torch.bool)
    assert torch.equal(found, x.mean(1, keepdim=True) > 0.5)


def test_otsu_parts_two_heaps_of_each_image() -> None:
    one, other = sheet((10, 20, 10, 30), value=0.2) + 0.01, sheet((10, 20, 10, 30), value=0.8) + 0.1
    settings = OPEN | {"threshold": "otsu"}
    both = text_mask(torch.cat((one, other)), **settings)
    assert torch.equal(both[0], both[1])
    assert torch.equal(both[:1], sheet((10, 20, 10, 30))[:, :1] > 0)


def test_otsu_agrees_with_scikit_image() -> None:
    filters = pytest.importorskip("skimage.filters")
    gray = torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(1)).pow(3)
    gray[:, :, :20] = gray[:, :, :20] * 0.3 + 0.6
    for image, found in zip(gray[:, 0].numpy(), text._otsu(gray[:, 0].numpy()), strict=True):
        assert found == pytest.approx(filters.threshold_otsu(image), abs=2 / 256)


def test_a_quantile_marks_its_share() -> None:
    x = torch.rand(2, 1, 50, 50, generator=torch.Generator().manual_seed(2)) * torch.tensor([1.0, 0.1]).view(2, 1, 1, 1)
    found = text_mask(x, **OPEN | {"threshold": "quantile", "level": 0.9})
    assert found.float().mean((1, 2, 3)).tolist() == pytest.approx([0.1, 0.1], abs=1e-3)


def test_components_outside_of_the_settings_are_dropped() -> None:
    word, speck, road, line = (5, 15, 5, 35), (30, 32, 5, 7), (40, 44, 0, 80), (50, 51, 5, 35)
    found = text_mask(sheet(word, speck, road, line), **OPEN | {"least": 5, "largest": 60, "aspect": 10.0})
    assert torch.equal(found, sheet(word)[:, :1] > 0)
    for change, kept in (
        ({"least": 5}, (word, road, line)),
        ({"largest": 60}, (word, speck, line)),
        ({"aspect": 29.0}, (word, speck, road)),
    ):
        assert torch.equal(text_mask(sheet(word, speck, road, line), **OPEN | change), sheet(*kept)[:, :1] > 0)


def test_thin_bends_fill_too_little_of_their_box() -> None:
    x = sheet((40, 50, 40, 60))
    x[..., range(35), range(35)] = 1  # a diagonal
    found = text_mask(x, **OPEN | {"fill": 0.1})
    assert torch.equal(found, sheet((40, 50, 40, 60))[:, :1] > 0)


def test_closing_joins_letters_and_marks_none_of_the_gaps() -> None:
    letters = [(20, 30, 10 + 8 * k, 16 + 8 * k) for k in range(4)]
    x = sheet(*letters)
    assert not text_mask(x, **OPEN | {"least": 12}).any()
    assert torch.equal(text_mask(x, **OPEN | {"least": 12, "closing": 2}), x[:, :1] > 0)


def test_closing_takes_nothing_at_the_border() -> None:
    x = sheet((0, 8, 0, 20), (50, 60, 60, 80))
    assert torch.equal(text_mask(x, **OPEN | {"closing": 3}), x[:, :1] > 0)


def test_images_of_a_batch_do_not_touch() -> None:
    x = torch.cat((sheet((0, 10, 0, 20)), sheet((0, 10, 20, 40)), sheet()))
    alone = torch.cat([text_mask(image[None], **OPEN | {"largest": 25}) for image in x])
    assert torch.equal(text_mask(x, **OPEN | {"largest": 25}), alone)
    assert not alone[2].any()


def test_nothing_left_undrawn_is_no_text() -> None:
    for threshold in ("otsu", "quantile"):
        assert not text_mask(torch.zeros(2, 3, 40, 40), threshold=threshold).any()
        assert not text_mask(torch.full((2, 3, 40, 40), 0.3), threshold=threshold).any()


def test_the_residual_is_what_is_left(blurring) -> None:
    x = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(4))
    drawn = tiled_prior(x, (3,))[0]
    dark, light, both = (residual(x, 3, ink) for ink in ("dark", "light", "any"))
    assert torch.equal(both, (x - drawn).abs())
    assert torch.equal(dark, (drawn - x).clamp(min=0))
    assert torch.equal(dark + light, both)
    assert torch.equal(residual(x, 3), dark)


def test_words_of_a_rendered_map_are_found_where_the_prior_blurs(blurring) -> None:
    one = render_map(128, 3, words=4)
    settings = TextMaskSettings("quantile", level=0.93, closing=2, least=8)
    found = extract_text(one.image[None], 7, mask=settings)[0]
    assert found.shape == one.text.shape
    inside, outside = found[one.text].float().mean(), found[~one.text].float().mean()
    assert inside > 0.4 > 0.1 > outside


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": "mean"}, "otsu"),
        ({"level": 1.5}, r"text_mask level: expected in \[0, 1\], got 1.5"),
        ({"closing": -1}, "closing"),
        ({"least": 0}, "least"),
        ({"aspect": 0.5}, "aspect"),
        ({"least": 50, "largest": 20}, "least 50 is above largest 20"),
    ],
)
def test_bad_settings_raise(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        text_mask(torch.zeros(1, 3, 8, 8), **settings)


def test_bad_residuals_raise() -> None:
    with pytest.raises(ValueError, match=r"expected shape \(N, C, H, W\), got \(3, 8, 8\)"):
        text_mask(torch.zeros(3, 8, 8))
    with pytest.raises(ValueError, match=r"expected finite values from 0, got \[-0.5, 0.5\]"):
        text_mask(0.5 - torch.eye(8).expand(1, 3, 8, 8))
    with pytest.raises(ValueError, match="expected finite values"):
        text_mask(torch.full((1, 3, 8, 8), float("nan")))
    with pytest.raises(TypeError, match="float"):
        text_mask(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


def test_bad_images_raise(blurring) -> None:
    with pytest.raises(ValueError, match=r"ink: expected one of \['dark', 'light', 'any'\], got 'red'"):
        extract_text(torch.zeros(1, 3, 40, 40), 5, "red")
    with pytest.raises(ValueError, match=r"pixels in \[0, 1\]"):
        extract_text(torch.full((1, 3, 40, 40), 2.0), 5)
    with pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
        extract_text(torch.zeros(3, 40, 40), 5)
    assert not blurring
