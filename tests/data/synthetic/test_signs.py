"""Painted signs and the numbers they are photographed with."""

import itertools

import pytest
import torch

from blurnet.data.labels import GTSRB_CLASSES, LISA_CLASSES, LISA_OUTPUTS_18, label_names
from blurnet.data.synthetic.draws import Draws, keys
from blurnet.data.synthetic.scene import render
from blurnet.data.synthetic.shapes import canvas, coverage, disc, polygon, stroke, text
from blurnet.data.synthetic.sheet import DIAMOND, OCTAGON, PAINTS, PENTAGON, SQUARE, TRIANGLE
from blurnet.data.synthetic.signs import atlas, outlines, painted


def test_label_maps() -> None:
    assert len(LISA_CLASSES) == len(set(LISA_CLASSES)) == 17
    assert len(GTSRB_CLASSES) == len(set(GTSRB_CLASSES)) == 43
    assert (GTSRB_CLASSES[13], GTSRB_CLASSES[14]) == ("yield", "stop")
    assert (LISA_OUTPUTS_18[14], LISA_OUTPUTS_18[12]) == ("stop", "speedLimit45")
    assert label_names(17)[13] == label_names(18)[14] == "stop"
    with pytest.raises(ValueError, match=r"outputs: expected one of \[17, 18\], got 16"):
        label_names(16)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("points", "area"), [(SQUARE, 4.0), (DIAMOND, 2.0), (TRIANGLE, 2.0), (OCTAGON, 3.3137), (PENTAGON, 3.1)]
)
def test_polygons_cover_their_area(points: list[tuple[float, float]], area: float) -> None:
    assert coverage(polygon(canvas(128), points)).mean() * 4 == pytest.approx(area, rel=0.01)


def test_disc_and_stroke_cover_their_area() -> None:
    grid = canvas(128)
    assert coverage(disc(grid, 0.1, -0.2, 0.5)).mean() * 4 == pytest.approx(torch.pi / 4, rel=0.01)
    # A line with round ends: a rectangle and a disc.
    area = 1.0 * 0.2 + torch.pi * 0.01
    assert coverage(stroke(grid, [(-0.5, 0.0), (0.5, 0.0)], 0.2)).mean() * 4 == pytest.approx(area, rel=0.01)


def test_polygon_distance_is_signed_and_euclidean() -> None:
    grid = canvas(64)
    distance = polygon(grid, SQUARE)
    torch.testing.assert_close(distance, grid.abs().amax(0) - 1)


def test_text_fills_its_box() -> None:
    inside = text(canvas(128), "STOP", (-0.75, -0.25, 0.75, 0.25), 0.1) < 0
    rows, columns = inside.any(1).nonzero(), inside.any(0).nonzero()
    assert (rows.min(), rows.max()) == (48, 79)
    assert (columns.min(), columns.max()) == (16, 111)


def test_every_sign_differs_from_every_other() -> None:
    signs = atlas(48)
    assert signs.shape == (17, 3, len(PAINTS), 48, 48)
    for a, b in itertools.combinations(range(17), 2):
        assert (signs[a] - signs[b]).abs().amax((1, 2, 3)).min() > 0.5, (LISA_CLASSES[a], LISA_CLASSES[b])


def test_paint_shares_make_up_the_plate() -> None:
    total = atlas(48).sum(2)
    assert total.min() >= 0
    assert total.max() <= 1 + 1e-5
    for name, corners, plate in zip(LISA_CLASSES, outlines(), total[:, 0], strict=True):
        expected = coverage(polygon(canvas(48), [(float(x), float(y)) for x, y in corners]))
        assert (plate - expected).abs().mean() < 0.035, name


def test_painted_refuses_unknown_signs() -> None:
    with pytest.raises(ValueError, match=r"unknown sign 'halt'; there are addedLane"):
        painted("halt", 0, 32)
    with pytest.raises(ValueError, match=r"variant must be in 0\.\.2, got 3"):
        painted("stop", 3, 32)


def test_draws_have_the_stated_distribution() -> None:
    draws = Draws(keys(3, 0, torch.arange(200)))
    uniform, normal = draws.uniform(-1, 3, 500), draws.normal(500)
    assert uniform.min() >= -1
    assert uniform.max() < 3
    assert uniform.mean() == pytest.approx(1, abs=0.02)
    assert normal.mean() == pytest.approx(0, abs=0.01)
    assert normal.std() == pytest.approx(1, abs=0.01)
    assert draws.chance(0.25, 500).mean() == pytest.approx(0.25, abs=0.01)
    picked = draws.choice(torch.full((200,), 3))
    assert set(picked.tolist()) == {0, 1, 2}
    # Neighbouring items and successive calls are unrelated.
    assert torch.corrcoef(torch.stack((uniform[0], uniform[1], normal[0])))[0, 1:].abs().max() < 0.15


def test_keys_differ_by_seed_stream_and_item() -> None:
    seeds = (0, 1, -1, 2**63, 2**70 + 5)
    all_keys = torch.cat([keys(seed, stream, torch.arange(500)) for seed in seeds for stream in range(3)])
    assert len(all_keys.unique()) == len(all_keys)


def test_rendering_leaves_global_randomness_alone() -> None:
    before = torch.get_rng_state()
    images, masks = render(keys(0, 0, torch.arange(2)), torch.tensor([13, 4]), 32)
    assert torch.equal(before, torch.get_rng_state())
    assert images.shape == (2, 3, 32, 32)
    assert masks.shape == (2, 1, 32, 32)
