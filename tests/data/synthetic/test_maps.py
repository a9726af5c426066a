"""Rendered maps: the words, their ink and their boxes belong together."""

import numpy as np
import pytest
import torch

from blurnet.data.synthetic.cartography import STYLES
from blurnet.data.synthetic.maps import Map, render_map


@pytest.fixture(scope="module")
def drawn() -> list[Map]:
    return [render_map(160, seed, words=8) for seed in range(6)]


def test_a_map_is_a_function_of_its_arguments(drawn: list[Map]) -> None:
    np.random.seed(0)  # noqa: NPY002  whatever the global state is
    before = torch.get_rng_state()
    again, other = render_map(160, 3, words=8), drawn[4]
    assert torch.equal(again.image, drawn[3].image)
    assert torch.equal(again.text, drawn[3].text)
    assert again.words == drawn[3].words
    assert not torch.equal(again.image, other.image)
    assert torch.equal(before, torch.get_rng_state())
    assert np.random.randint(1000) == 684  # noqa: NPY002  the first of seed 0: nobody drew from it


def test_shapes_and_ranges() -> None:
    one = render_map((64, 96), 5)
    assert one.image.shape == (3, 64, 96)
    assert one.text.shape == (1, 64, 96)
    assert (one.image.dtype, one.text.dtype) == (torch.float32, torch.bool)
    assert 0 <= one.image.min() < one.image.max() <= 1
    assert 1 <= len(render_map(256, 0).words) <= 10


def test_ink_lies_in_the_boxes_and_touches_their_sides(drawn: list[Map]) -> None:
    for one in drawn:
        assert len(one.words) >= 3
        outside = one.text[0].clone()
        for word in one.words:
            top, bottom, left, right = word.box
            assert 0 <= top < bottom <= 160
            assert 0 <= left < right <= 160
            ink = one.text[0, top:bottom, left:right]
            assert all(edge.any() for edge in (ink[0], ink[-1], ink[:, 0], ink[:, -1])), word
            outside[top:bottom, left:right] = False
        assert not outside.any()


def test_boxes_keep_apart(drawn: list[Map]) -> None:
    for one in drawn:
        covered = torch.zeros(160, 160)
        for word in one.words:
            top, bottom, left, right = word.box
            covered[top:bottom, left:right] += 1
        assert covered.max() == 1


def test_ink_is_seen_in_the_image(drawn: list[Map]) -> None:
    """Words are darker than what stands around them, and a map without words is the ground beneath."""
    for one in drawn:
        gray = one.image.mean(0)
        for word in one.words:
            top, bottom, left, right = word.box
            ink, part = one.text[0, top:bottom, left:right], gray[top:bottom, left:right]
            assert part[ink].mean() < part[~ink].mean() - 0.1, word


def test_no_words_no_ink() -> None:
    bare = render_map(96, 1, words=0)
    assert bare.words == ()
    assert not bare.text.any()
    assert bare.image.std() > 0.01


def test_seeds_give_every_kind_of_map_and_of_word() -> None:
    maps = [render_map(192, seed) for seed in range(24)]
    texts = [word.text for one in maps for word in one.words]
    assert any(text.isdigit() for text in texts)
    assert any(text.endswith(".") for text in texts)
    assert any(text.isupper() and len(text) > 3 for text in texts)
    assert any(text.istitle() and text.isalpha() for text in texts)
    # The first tint of a kind of map is its commonest colour, or close to it.
    light = torch.tensor([style.tints[0] for style in STYLES]) / 255
    nearest = {int((one.image.flatten(1).median(1).values - light).square().sum(1).argmin()) for one in maps}
    assert len(nearest) > 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"size": 16, "seed": 0}, ValueError, "height: expected at least 32, got 16"),
        ({"size": (64, 8), "seed": 0}, ValueError, "width: expected at least 32, got 8"),
        ({"size": 64.0, "seed": 0}, TypeError, "height: expected an int, got 64.0"),
        ({"size": (64, 64, 3), "seed": 0}, TypeError, "height: expected an int"),
        ({"size": 64, "seed": -1}, ValueError, "seed: expected at least 0, got -1"),
        ({"size": 64, "seed": None}, TypeError, "seed: expected an int, got None"),
        ({"size": 64, "seed": 0, "words": -2}, ValueError, "words: expected at least 0, got -2"),
        ({"size": 64, "seed": 0, "words": True}, TypeError, "words: expected an int, got True"),
    ],
)
def test_bad_arguments_raise(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        render_map(**arguments)
