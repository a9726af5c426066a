"""The picture of all models: from their cards, the same bytes again, and labels that can be read."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from blurnet.evaluation.render.leaderboard import draw_leaderboard, entries, leaderboard_svg, spread
from blurnet.rates import Rate
from blurnet.zoo.card import Card, ImageFigures
from blurnet.zoo.models import list_models, load_model, models_root

SVG = "{http://www.w3.org/2000/svg}"


def card(name: str, clean: int, robust: int, dataset: str = "lisa") -> Card:
    figures = ImageFigures("autopatch", Rate.of(robust, 40), "a square", 40, "40 images", "AutoPatch()")
    measured = Rate.of(clean, 200)
    return Card(name, dataset, "none", "data", 0, "command", clean=measured, per_image=[figures], name=name)


CARDS = [card(f"level-{i}", 190 - i // 3, 0) for i in range(20)]
CARDS += [card("robust", 150, 30), card("between", 170, 10, "other"), card("perfect", 200, 40)]


def test_points_are_the_cards_rates():
    ax = draw_leaderboard(entries(CARDS)).axes[0]
    points = {(x, y) for container in ax.containers for x, y in container.lines[0].get_xydata().tolist()}
    assert points == {(c.clean.value, c.under("autopatch").robust.value) for c in CARDS}
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {"lisa", "other"}
    intervals = [path.vertices for c in ax.containers for part in c.lines[2] for path in part.get_paths()]
    found = {tuple(sorted((round(a, 2), round(b, 2)))) for (_, a), (_, b) in intervals if a != b}
    wanted = {(c.under("autopatch").robust.low, c.under("autopatch").robust.high) for c in CARDS}
    assert wanted <= found


def test_labels_do_not_collide():
    figure = draw_leaderboard(entries(CARDS))
    FigureCanvasAgg(figure).draw()
    boxes = sorted((t.get_window_extent() for t in figure.axes[0].texts), key=lambda box: box.y0)
    assert len(boxes) == len(CARDS)
    assert all(below.y1 <= above.y0 for below, above in pairwise(boxes))
    axes = figure.axes[0].get_window_extent()
    assert all(box.x0 > axes.x1 for box in boxes)
    assert all(figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1 for box in boxes)


def test_the_same_cards_give_the_same_bytes():
    drawn = leaderboard_svg(CARDS)
    assert leaderboard_svg(CARDS[::-1]) == drawn
    assert not re.search(rb"<dc:date>", drawn)
    said = [text.text for text in ElementTree.fromstring(drawn).iter(f"{SVG}text")]
    assert "robust  75.0 / 75.0" in said
    assert leaderboard_svg([*CARDS[1:], card("level-0", 189, 0)]) != drawn


def test_models_without_a_figure_are_left_out():
    bare = Card("bare", "lisa", "none", "data", 0, "command", name="bare")
    assert leaderboard_svg([*CARDS, bare]) == leaderboard_svg(CARDS)
    with pytest.raises(ValueError, match="no model has both"):
        leaderboard_svg([bare])


@pytest.mark.parametrize("wanted", [[], [0.0], [0.0] * 5, [1.0] * 5, [0.0, 0.0, 0.5, 0.5, 0.9, 1.0], [0.3, 0.31, 0.9]])
def test_places_keep_their_distance(wanted):
    places = spread(wanted, 0.2)
    assert all(above - below >= 0.2 - 1e-9 for below, above in pairwise(places))
    assert all(-1e-9 <= place <= 1 for place in places)


def test_places_move_only_where_they_must():
    assert spread([0.0, 0.5, 1.0], 0.2) == [0.0, 0.5, 1.0]
    with pytest.raises(ValueError, match=r"6 places 0\.25 apart do not fit"):
        spread([0.0] * 6, 0.25)


def test_the_picture_beside_the_table_is_what_the_cards_give():
    path = models_root() / "leaderboard.svg"
    fresh = leaderboard_svg([load_model(name).card for name in list_models()])
    shipped = path.read_bytes()

    def part(data: bytes, name: str) -> str:
        (found,) = re.findall(rf"<dc:{name}>(.*?)</dc:{name}>", data.decode(), re.DOTALL)
        return found

    assert part(shipped, "description") == part(fresh, "description")
    if re.search(rb"Matplotlib v[\d.]+", shipped)[0] == re.search(rb"Matplotlib v[\d.]+", fresh)[0]:
        assert shipped == fresh  # another version may draw other bytes
