"""Charts inside the page: they draw the rates, take their colours from the page, and repeat to the byte."""

import re
from xml.etree import ElementTree

import pytest

from blurnet.evaluation.render.charts import HEIGHT, TOP, heat_map, line_chart, place, tick
from blurnet.evaluation.report.parts import Curve, CurvePoint
from blurnet.rates import Rate


def curve(*values: float, axis: str = "steps", attack: str = "a") -> Curve:
    return Curve(attack, axis, [CurvePoint(value, Rate.of(i, len(values))) for i, value in enumerate(values)])


def texts(drawing: str) -> list[str]:
    return [element.text for element in ElementTree.fromstring(drawing.replace("xlink:", "")).iter("text")]


def marks(drawing: str) -> list[tuple[float, float]]:
    """Where the points of the curves stand; a band is drawn from the corner."""
    found = [tuple(map(float, at)) for at in re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"', drawing)]
    return [at for at in found if at[0] > 0]


def test_a_curve_of_a_single_point_and_a_map_of_one_cell():
    chart = line_chart([curve(10)], "one")
    assert marks(chart) == [(pytest.approx(255, abs=1), HEIGHT - 40)]
    assert "nan" not in chart
    assert "10" in texts(chart)
    assert "<path" not in heat_map([[0.0]], "none")


def test_colours_and_fonts_are_those_of_the_page():
    drawings = line_chart([curve(1, 10, 100), curve(1, 10, attack="b")], "two"), heat_map([[0.5, 1.0]], "map")
    for drawing in drawings:
        assert not re.search("#[0-9a-f]{6}|font|url|http|xmlns|<style|clip", drawing.replace('href="#', ""))
        assert drawing.startswith('<svg viewBox="0 0 ')
    assert {"var(--c0)", "var(--c1)", "var(--soft)", "var(--line)"} <= set(re.findall(r"var\(--\w+\)", drawings[0]))
    assert drawings[1].count("<path") == 2  # one a shade


def test_points_stand_where_their_rates_are():
    chart = line_chart([curve(1, 100, axis="area")], "where")
    assert [y for _, y in marks(chart)] == pytest.approx([HEIGHT - 40, (TOP + HEIGHT - 40) / 2], abs=0.1)


def test_ticks_do_not_touch():
    said = texts(line_chart([curve(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1000)], "close"))
    assert "1" in said
    assert "1000" in said
    assert not {"2", "3"} <= set(said)
    assert (tick(0.05, "area"), tick(100, "steps")) == ("5 %", "100")
    assert place(0, "steps") < place(1, "steps")


def test_the_description_says_the_numbers():
    chart = line_chart([curve(0.02, 0.1, axis="area", attack="<b>")], "said")
    assert "&lt;b&gt;: 2 % 0.0 %, 10 % 50.0 %" in chart
    text = heat_map([[0.0, 0.0], [0.0, 0.5]], "m")
    assert "75 % from the left and 75 % from the top, by 50 % of the patches" in text


def test_the_same_curves_give_the_same_bytes():
    assert line_chart([curve(1, 2)], "x") == line_chart([curve(1, 2)], "x")
    assert line_chart([curve(1, 2)], "x") != line_chart([curve(1, 3)], "x")
