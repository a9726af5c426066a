"""The pictures of one noise for all victims: they show the report's numbers, and their bytes repeat."""

import io

import numpy as np
import pytest
from PIL import Image

from blurnet.evaluation.render import figures, pictures
from tests.evaluation.sample_report import universal, victim_pictures

GIVEN = victim_pictures()


def test_success_by_target_draws_every_rate():
    figure = pictures.success_by_target(universal("rp2", None, 1, 7, 3))
    (ax,) = figure.axes
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([14.29, 42.86, 100])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "c", "b"]
    said = {text.get_text() for text in figure.legends[0].get_texts()}
    assert said == {"label changed, 95 % interval", "target reached", "average 52.4 %"}
    untargeted = pictures.success_by_target(universal("rp2", None, 1, 7, targeted=False))
    assert "target reached" not in [text.get_text() for text in untargeted.legends[0].get_texts()]


def test_gallery_shows_the_pixels_and_the_calls():
    figure = pictures.gallery(GIVEN)
    assert len(figure.axes) == 18
    np.testing.assert_array_equal(figure.axes[12].images[0].get_array(), GIVEN.adversarial[0].permute(1, 2, 0).numpy())
    assert figure.axes[0].get_xlabel() == "a\n25 %"
    assert figure.axes[13].get_xlabel() == "b\n50 %"


def test_spectra_and_energy():
    pair = GIVEN.clean, GIVEN.adversarial
    made = [
        pictures.spectra_rgb(*pair, "rp2"),
        pictures.spectra_maps(GIVEN.net, *pair, "rp2", rows=2),
        pictures.energy_by_frequency(GIVEN.net, *pair, "rp2"),
    ]
    assert [len(figure.axes) for figure in made] == [9 + 2, 6 + 2, 2]
    for line in made[2].axes[0].lines:
        assert sum(line.get_ydata()) == pytest.approx(1)
    first = figures.png_bytes(made[2])
    assert figures.png_bytes(pictures.energy_by_frequency(GIVEN.net, *pair, "rp2")) == first
    with Image.open(io.BytesIO(first)) as image:
        assert image.size == (1500, 690)


def test_all_five_are_made_and_their_bytes_repeat():
    made = pictures.victim_pictures(GIVEN)
    assert list(made) == ["gallery", "success_by_target", "spectra_rgb", "spectra_maps", "radial_energy"]
    assert pictures.victim_pictures(victim_pictures()) == made
