"""The report of an evaluation: values to read, files for people and programs."""

import os
from pathlib import Path

from blurnet.checks import check_writable
from blurnet.evaluation.render.html import report_html
from blurnet.evaluation.render.pictures import victim_pictures
from blurnet.evaluation.render.samples import samples
from blurnet.evaluation.render.summary import summary
from blurnet.evaluation.report.content import Content
from blurnet.evaluation.report.earlier import present
from blurnet.files import write_atomic, write_json_lines
from blurnet.strict import from_dict, parse_json


class Report(Content):
    """What an evaluation found; ``print(report)`` shows it as tables.

    The fields are those of :class:`~blurnet.evaluation.report.content.Content`; rates are
    :class:`blurnet.rates.Rate`, in percent. ``report.robust`` is the headline: the share of images answered correctly
    before and after every attack.
    """

    def __str__(self) -> str:
        """summary.md."""
        return summary(self)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the report's files into a folder, made where it is missing, and return it.

        ``report.html`` opens anywhere and loads nothing; ``samples.jsonl`` has one line for each attack and image;
        pictures (PNG) are drawn where there are victims of one noise; ``summary.md``; ``report.json`` is written last:
        who finds it finds everything. Each is written whole or not at all. A report that was read from a file has
        no rows or images: its samples and pictures are left out, not emptied.

        Raises:
            PermissionError, NotADirectoryError: the folder cannot be made or written.
        """
        place = check_writable(folder)
        plots = victim_pictures(self.victim_pictures) if self.victim_pictures else {}
        for name, data in plots.items():
            write_atomic(place / f"{name}.png", data)
        if self.records or self.record_attacks:
            write_json_lines(place / "samples.jsonl", samples(self))
        write_atomic(place / "report.html", report_html(self, plots))
        write_atomic(place / "summary.md", summary(self))
        write_atomic(place / "report.json", self.to_json())
        return place

    @classmethod
    def from_json(cls, text: str, where: str = "report") -> "Report":
        """Inverse of :meth:`to_json`; reads the formats 1 and 2 of earlier versions too.

        Raises:
            ValueError: not JSON, or no report of a known format; one line, beginning with ``where``, says why.
        """
        data = present(parse_json(text, where), where)
        try:
            return from_dict(cls, data, where)
        except TypeError as error:
            raise ValueError(str(error)) from error


def read_report(path: str | os.PathLike[str]) -> Report:
    """The report in a file report.json, or in a folder that holds one.

    Raises:
        FileNotFoundError: no such file. ValueError: as :meth:`Report.from_json`.
    """
    file = Path(path)
    file = file / "report.json" if file.is_dir() else file
    if not file.is_file():
        raise FileNotFoundError(f"no such report: {file}")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: not a text file ({error.reason})") from error
    return Report.from_json(text, str(file))
