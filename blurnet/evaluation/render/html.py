"""report.html: one file that loads nothing, from a report with the images and pictures it carries."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup
from PIL import Image
from torch import Tensor

from blurnet.evaluation.render.charts import heat_map, line_chart, tick
from blurnet.evaluation.render.summary import PACKAGE, evidence, sanity_note, universal
from blurnet.evaluation.report.content import Content
from blurnet.evaluation.report.parts import Curve, ImagesPart
from blurnet.rates import Rate
from blurnet.templates import render

SIDE = 128  #: larger images are shown smaller: a report should open on a phone
AXES = {"area": "size of the patch", "steps": "number of steps"}


class Chart(NamedTuple):
    """A drawing of all curves over one axis."""

    axis: str
    title: str
    curves: list[Curve]
    drawing: Markup

    @property
    def proven(self) -> bool:
        """Whether something is certified at any point of it."""
        return any(point.certified for curve in self.curves for point in curve.points)

    def tick(self, value: float) -> str:
        """A value of the axis as text."""
        return tick(value, self.axis)


def report_html(report: Content, plots: Mapping[str, bytes] | None = None) -> str:
    """The whole document.

    Args:
        report: with its ``gallery``, where images are to be shown.
        plots: PNG files by name, drawn for the attacks with one noise for all victims.
    """
    images, gallery = report.per_image, report.gallery
    return render(
        PACKAGE, "report.html.jinja", title=f"Robustness of {report.model.name}", report=report, tiles=_tiles(report),
        outcomes=_outcomes(images) if images else [], evidence=evidence, sanity=sanity_note(report),
        staged=[attack for attack in images.attacks if len(attack.stages) > 3] if images else [],
        charts=_charts(images.curves) if images else [],
        heat_map=heat_map(images.places, "places") if images and images.places else None,
        gallery=gallery, picture=picture, wide=_wide([len(strip) for _, strip in gallery]),
        universal=universal(report), plots={name: png(data) for name, data in (plots or {}).items()},
    )  # fmt: skip


def picture(image: Tensor) -> str:
    """An RGB image (3, H, W) in [0, 1] as the source of an ``<img>``; one above 128 pixels is made smaller."""
    made = Image.fromarray((image.detach().cpu().permute(1, 2, 0) * 255).round().byte().numpy())
    if max(made.size) > SIDE:
        made.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    made.save(buffer, "PNG", optimize=True)
    return png(buffer.getvalue())


def png(data: bytes) -> str:
    """The bytes of a PNG file as the source of an ``<img>``."""
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def _tiles(report: Content) -> list[tuple[str, str, str]]:
    """Name, value and a line below, for the numbers beside the headline."""
    found: list[tuple[str, Rate | None]] = []
    if report.data:
        found.append((f"accuracy on {report.data.name}", report.clean))
    if report.victims:
        found.append((f"accuracy on the victims ({report.victims.name})", report.victims_clean))
    if report.per_image:
        found += [(f"robust against {group.threat}", group.robust) for group in report.per_image.by_threat]
    tiles = [(name, rate.percent, f"{rate.interval}, {rate.trials}") for name, rate in found if rate]
    size = report.model.image_size
    at = f", at {size[0]}x{size[1]} pixels" if size else ""
    return [*tiles, ("parameters", f"{report.model.parameters:,}", f"sha256 {report.model.sha256[:12]}…{at}")]


def _outcomes(images: ImagesPart) -> list[tuple[str, str, int]]:
    """Colour, words and count of what became of the images."""
    robust, wrong = images.robust.count, images.wrong_before
    return [
        ("robust", "still correct", robust),
        ("broken", "broken by an attack", images.on.n - wrong - robust),
        ("wrong", "wrong before any attack", wrong),
    ]


def _charts(curves: Sequence[Curve]) -> list[Chart]:
    made = []
    for axis in dict.fromkeys(curve.axis for curve in curves):
        over = [curve for curve in curves if curve.axis == axis]
        made.append(Chart(axis, AXES.get(axis, axis), over, line_chart(over, f"curve-{axis}")))
    return made


def _wide(lengths: Sequence[int]) -> str:
    """Width of a card of the gallery in rem: as many stand side by side as show all their pictures."""
    return f"{7.3 * max(lengths, default=1) + 1.9:.1f}"
