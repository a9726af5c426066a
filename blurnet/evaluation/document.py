"""An HTML document in the house's style, and how a rate looks in it."""

from collections.abc import Mapping
from typing import Any

from blurnet.evaluation.markup import Markup, element
from blurnet.evaluation.style import CSS

#: The browser itself refuses whatever would leave the page.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(title: str, content: Markup) -> str:
    """An HTML document with the house's style around its content."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(CSS)),
    )
    return f"<!doctype html>\n{element('html', head, element('body', element('main', content)), lang='en')}\n"


def bar(rate: Mapping[str, Any], kind: str = "stand") -> Markup:
    """A rate as a bar with its interval."""
    width, low, span = f"{rate['value']:g}%", f"{rate['low']:g}%", f"{rate['high'] - rate['low']:.6g}%"
    inner = element("i", class_=kind, style=f"width:{width}"), element("b", style=f"left:{low};width:{span}")
    return element("div", *inner, class_="bar", aria_hidden="true")


def said(rate: Mapping[str, Any] | None) -> str:
    """A rate with its interval, in words short enough for a cell."""
    return "-" if rate is None else f"{rate['value']:.1f} % ({rate['low']:.1f}-{rate['high']:.1f})"
