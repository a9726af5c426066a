"""Templates: HTML escapes, names that are missing raise, Markdown cells hold."""

import pytest
from jinja2 import DictLoader, UndefinedError
from markupsafe import Markup

from blurnet.templates import _environment, cell, line, render


@pytest.fixture
def package(monkeypatch) -> str:
    made = _environment.__wrapped__("blurnet.zoo")
    made.loader = DictLoader({"a.html.jinja": "<p>{{ x }}</p>\n", "a.md.jinja": "| {{ x|cell }} |\n"})
    monkeypatch.setattr("blurnet.templates._environment", lambda _: made)
    return "blurnet.zoo"


def test_html_escapes_what_is_no_markup(package):
    assert render(package, "a.html.jinja", x="<b>") == "<p>&lt;b&gt;</p>\n"
    assert render(package, "a.html.jinja", x=Markup("<b>")) == "<p><b></p>\n"


def test_markdown_stays_in_its_cell(package):
    assert render(package, "a.md.jinja", x="<a|b\nc>") == "| <a\\|b c> |\n"
    assert cell("a|b") == "a\\|b"
    assert line("a\r\nb") == "a b"


def test_a_missing_name_raises(package):
    with pytest.raises(UndefinedError, match="'x' is undefined"):
        render(package, "a.md.jinja")
