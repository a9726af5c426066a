import numpy as np
import pytest
import torch
from PIL import Image

from blurnet.evaluation import figures, pictures
from blurnet.evaluation.results import AttackResult, TargetResult
from blurnet.evaluation.store import TargetWork
from blurnet.rates import Rate
from tests.evaluation.tiny_subject import CLASSES, tiny_net, tiny_victims

VICTIMS = tiny_victims()
ATTACKED = (VICTIMS.images + 0.5 * VICTIMS.masks["stickers"]).clamp(0, 1)


def attack(*counts: int, targeted: bool = True) -> AttackResult:
    rows = [TargetResult(i, Rate.of(c, 7), Rate.of(c // 2, 7) if targeted else None, 0.2) for i, c in enumerate(counts)]
    return AttackResult("rp2", "RP2()", 0, None, tuple(rows))


def test_success_by_target_draws_every_rate():
    figure = pictures.success_by_target(attack(1, 7, 3), CLASSES)
    (ax,) = figure.axes
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([100 / 7, 300 / 7, 100])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "c", "b"]
    assert "average 52.4 %" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_gallery_shows_the_pixels_and_the_calls():
    before, after = torch.zeros(7, dtype=torch.long), torch.arange(7) % 3
    work = TargetWork(ATTACKED, torch.zeros(3, 12, 12), after, torch.full((7,), 0.5))
    figure = pictures.gallery(VICTIMS.images, before, torch.full((7,), 0.25), work, CLASSES, "rp2")
    assert len(figure.axes) == 18
    np.testing.assert_array_equal(figure.axes[12].images[0].get_array(), ATTACKED[0].permute(1, 2, 0).numpy())
    assert figure.axes[0].get_xlabel() == "a\n25 %"
    assert figure.axes[13].get_xlabel() == "b\n50 %"


def test_spectra_and_energy(tmp_path):
    net = tiny_net()
    made = [
        pictures.spectra_rgb(VICTIMS.images, ATTACKED, "rp2"),
        pictures.spectra_maps(net, VICTIMS.images, ATTACKED, "rp2", rows=2),
        pictures.energy_by_frequency(net, VICTIMS.images, ATTACKED, "rp2"),
    ]
    assert [len(figure.axes) for figure in made] == [9 + 2, 6 + 2, 2]
    for line in made[2].axes[0].lines:
        assert sum(line.get_ydata()) == pytest.approx(1)
    first, again = tmp_path / "first.png", tmp_path / "again.png"
    figures.save_png(made[2], first)
    figures.save_png(pictures.energy_by_frequency(net, VICTIMS.images, ATTACKED, "rp2"), again)
    assert first.read_bytes() == again.read_bytes()
    with Image.open(first) as image:
        assert image.size == (1500, 690)
