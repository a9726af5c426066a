"""HTML and SVG from Python values: everything that is not already markup is escaped."""

import base64
import html
import io

from PIL import Image
from torch import Tensor

#: Larger images are shown smaller: a report should open on a phone.
SIDE = 128


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def element(name: str, /, *children: object, **attributes: object) -> Markup:
    """``<name attribute="value">children</name>``, children and values escaped unless they are :class:`Markup`.

    An attribute's trailing underscore falls away and other underscores become hyphens (``class_``, ``stroke_width``);
    one that is None is left out. Numbers are written short.
    """
    head = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in ("img", "meta", "br"):  # void in HTML; SVG's elements are closed like all others
        return Markup(f"<{name}{head}>")
    return Markup(f"<{name}{head}>{join(*children)}</{name}>")


def join(*children: object) -> Markup:
    """Children one after another; None is nothing."""
    return Markup("".join(c if isinstance(c, Markup) else html.escape(_text(c)) for c in children if c is not None))


def table(head: list[object], rows: list[list[object]], caption: str, numbers: int = 1) -> Markup:
    """A table that scrolls on narrow screens; the columns from ``numbers`` on are aligned to the right."""

    def row(cells: list[object], name: str) -> Markup:
        made = [
            element(
                "th" if i == 0 or name == "th" else "td",
                cell,
                scope="col" if name == "th" else ("row" if i == 0 else None),
                class_="number" if i >= numbers else None,
            )
            for i, cell in enumerate(cells)
        ]
        return element("tr", *made)

    body = element("tbody", *(row(cells, "td") for cells in rows))
    made = element("table", element("caption", caption), element("thead", row(head, "th")), body)
    return element("div", made, class_="scroll", tabindex=0, role="region", aria_label=caption)


def picture(image: Tensor, alt: str) -> Markup:
    """An RGB image (3, H, W) in [0, 1] as a PNG inside the page; one above 128 pixels is made smaller."""
    pixels = (image.detach().cpu().permute(1, 2, 0) * 255).round().byte().numpy()
    made = Image.fromarray(pixels)
    if max(made.size) > SIDE:
        made.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    made.save(buffer, "PNG", optimize=True)
    return png(buffer.getvalue(), alt, width=made.width, height=made.height)


def png(data: bytes, alt: str, **attributes: object) -> Markup:
    """The bytes of a PNG file inside the page."""
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return element("img", src=source, alt=alt, **attributes)


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
