"""Lettering: masks of words."""

import math

import numpy as np
import pytest

from blurnet.data.synthetic.lettering import ABBREVIATIONS, FACES, NAMES, lettered


@pytest.mark.parametrize("face", FACES)
def test_masks_are_tight_and_antialiased(face: str) -> None:
    ink = lettered("Oakham", face, 24)
    assert ink.dtype == np.float32
    assert ink.max() == 1
    assert ((ink > 0) & (ink < 1)).any()
    for edge in (ink[0], ink[-1], ink[:, 0], ink[:, -1]):
        assert edge.max() > 0
    assert ink.shape[1] > 2 * ink.shape[0]


def test_size_scales_and_spacing_widens() -> None:
    small, large, wide = (
        lettered("VALE", "roman", 16),
        lettered("VALE", "roman", 32),
        lettered("VALE", "roman", 16, spacing=1),
    )
    assert large.shape[0] == pytest.approx(2 * small.shape[0], abs=2)
    assert wide.shape[1] == pytest.approx(small.shape[1] + 3 * 16, abs=2)
    assert wide.sum() == pytest.approx(small.sum(), rel=0.1)


def test_a_quarter_turn_stands_upright() -> None:
    flat, upright = lettered("Rowan", "sans", 20), lettered("Rowan", "sans", 20, angle=math.pi / 2)
    assert upright.shape[0] == pytest.approx(flat.shape[1], abs=3)
    assert upright.shape[1] == pytest.approx(flat.shape[0], abs=3)
    # Clockwise: the word begins at the top, so that its last letter is at the bottom.
    np.testing.assert_allclose(np.rot90(upright).sum(), flat.sum(), rtol=0.05)
    assert abs(np.rot90(upright)[:16, :70] - flat[:16, :70]).mean() < 0.1


def test_an_arc_is_higher_than_a_line_and_bends_either_way() -> None:
    flat, arc, other = (lettered("SUMMIT", "roman", 20, bend=bend) for bend in (0.0, 1.0, -1.0))
    assert arc.shape[0] > flat.shape[0] + 5
    middle = slice(arc.shape[1] // 2 - 10, arc.shape[1] // 2 + 10)

    def height(ink: np.ndarray) -> float:
        return float((ink[:, middle] * np.arange(len(ink))[:, None]).sum() / ink[:, middle].sum() / len(ink))

    assert height(arc) < 0.5 < height(other)


def test_every_word_leaves_ink() -> None:
    assert len(set(NAMES)) == len(NAMES) > 50
    for text in (*NAMES, *ABBREVIATIONS, "1234567890"):
        assert lettered(text, "sans", 11).sum() > 20


def test_bad_arguments_raise() -> None:
    with pytest.raises(ValueError, match=r"face: expected one of \['roman', 'italic', 'bold', 'sans'\], got 'gothic'"):
        lettered("Vale", "gothic", 12)
    with pytest.raises(ValueError, match="at least 1 pixel, got 0"):
        lettered("Vale", "sans", 0)
    with pytest.raises(ValueError, match="' ' leaves no ink"):
        lettered(" ", "sans", 12)
