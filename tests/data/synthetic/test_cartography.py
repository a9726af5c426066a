"""What maps draw beside words."""

import numpy as np
import pytest
from PIL import Image

from blurnet.data.synthetic.cartography import STYLES, draw_ground, draw_roads, draw_symbols


@pytest.mark.parametrize("style", STYLES, ids=["survey", "atlas", "street"])
def test_each_part_draws_in_its_colours(style) -> None:
    rng = np.random.default_rng(2)
    sheet = draw_ground(rng, (120, 160), style)
    assert sheet.size == (160, 120)
    ground = np.asarray(sheet)
    assert (ground == style.contour).all(-1).any()
    draw_roads(rng, sheet, style)
    roads = np.asarray(sheet)
    assert (roads == style.casing).all(-1).sum() > (ground == style.casing).all(-1).sum()
    draw_symbols(rng, sheet, style, 40)
    assert (np.asarray(sheet) == style.ink).all(-1).any()


def test_symbols_keep_their_number() -> None:
    sheet = Image.new("RGB", (60, 60), "white")
    draw_symbols(np.random.default_rng(0), sheet, STYLES[0], 0)
    assert sheet.getextrema() == ((255, 255),) * 3
