"""Jinja templates of a package: HTML escapes what it is given, and a name that is missing raises."""

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def render(package: str, name: str, /, **values: object) -> str:
    """A template of a package's folder ``templates``, filled in.

    In ``*.html.jinja`` everything is escaped unless it is ``markupsafe.Markup``. Elsewhere the filters ``line`` (no
    line breaks) and ``cell`` (of a Markdown table) keep a text in its place, and blank lines in a row are one.

    Args:
        package: "blurnet.zoo".
        name: file name of the template.
        values: what it may use.

    Raises:
        jinja2.TemplateNotFound: no such template. jinja2.UndefinedError: it uses what ``values`` lack.
    """
    text = _environment(package).get_template(name).render(values)
    return text if name.endswith(".html.jinja") else re.sub(r"\n{3,}", "\n\n", text)


def line(text: object) -> str:
    """A text without line breaks."""
    return " ".join(str(text).splitlines())


def cell(text: object) -> str:
    """A text that does not end its cell of a Markdown table."""
    return line(text).replace("|", "\\|")


@cache
def _environment(package: str) -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined  # only where a page is written

    made = Environment(
        loader=PackageLoader(package), autoescape=lambda name: name is not None and name.endswith(".html.jinja"),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    made.filters |= {"line": line, "cell": cell}
    return made
