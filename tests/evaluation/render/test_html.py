import base64
import dataclasses
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
import torch
from markupsafe import Markup
from PIL import Image

from blurnet.evaluation.render.html import picture, report_html
from blurnet.evaluation.report.kept import Shown
from blurnet.evaluation.report.parts import Curve, SanityRow
from blurnet.evaluation.report.report import Report
from blurnet.templates import render
from tests.evaluation.sample_report import FLAG, NASTY, sample_report

VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Tags that are opened and closed in order, their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture(scope="module")
def report() -> Report:
    return sample_report()


def page_text(report: Report) -> str:
    return " ".join(Reader(report_html(report)).text)


def test_the_page_says_what_the_report_says(report):
    images, text = report.per_image, page_text(report)
    assert report.robust.percent in text
    assert "95 % interval" in text
    assert f"{report.robust.interval}, n = 6 in 3 groups" in text
    assert "1 wrong before any attack" in text
    assert "2 broken by an attack" in text
    for attack in [*images.attacks, *report.attacks]:
        assert attack.repr in text
    for said in (report.command, report.adaptive.note, report.defenses.note, "rp2, transferred from another"):
        assert said in text
    assert "97.5 %" in text
    assert "Flags" not in text
    assert report_html(sample_report()) == report_html(report)


def test_pictures_and_charts_are_described_and_inside(report):
    read = Reader(report_html(report, {"spectra_rgb": b"x"}))
    images = read.all("img")
    assert len(images) == sum(len(strip) for _, strip in report.gallery) + 1
    assert all(image["src"].startswith("data:image/png;base64,") and len(image["alt"]) > 10 for image in images)
    for drawing in read.all("svg"):
        labels = drawing["aria-labelledby"].split()
        assert [tag for tag, attributes in read.tags if attributes.get("id") in labels] == ["title", "desc"]
    assert len(read.all("svg")) == 2  # the curve of Blot over its area, and the map of places
    names = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(names) == len(set(names))
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in read.tags}


def test_tables_have_captions_and_headers(report):
    read = Reader(report_html(report))
    assert len(read.all("caption")) == len(read.all("table")) == len(read.all("thead")) > 5
    assert {attributes.get("scope") for attributes in read.all("th")} == {"col", "row"}
    rows = report_html(report).count("<tr>") - len(read.all("table"))
    assert rows == sum(attributes["scope"] == "row" for attributes in read.all("th"))


def test_flags_stand_with_cause_and_cure(report):
    text = page_text(dataclasses.replace(report, flags=[FLAG]))
    assert all(said in text for said in (FLAG.name, FLAG.cause, FLAG.cure))
    assert "images 7, zero 6.5 (one patch)" in text
    assert "raised no flag" not in text


def test_checks_without_flags_are_told_from_checks_left_out(report):
    assert "raised no flag on 5 images (one patch)" in page_text(report)
    assert "The sanity checks were NOT run." in page_text(dataclasses.replace(report, sanity=None))
    none = dataclasses.replace(report, sanity=[SanityRow("x", 0, [])])
    assert "answers none of the first ones correctly" in page_text(none)


def nasty(value):
    """Every text of a report's JSON, replaced by one that tries to leave its place."""
    if isinstance(value, dict):
        return {(NASTY if key == "python" else key): nasty(value[key]) for key in value}
    if isinstance(value, list):
        return [nasty(item) for item in value]
    return NASTY if isinstance(value, str) else value


def test_everything_is_escaped(report):
    changed = Report.from_json(json.dumps(nasty(json.loads(dataclasses.replace(report, flags=[FLAG]).to_json()))))
    shown = [Shown(NASTY, torch.zeros(3, 4, 4), NASTY, NASTY, True)]
    text = report_html(dataclasses.replace(changed, gallery=[(NASTY, shown)]), {NASTY: b"x"})
    read = Reader(text)
    assert text.count("<script") == 0
    assert "".join(read.text).count("<script>") > 30
    bare = [v for _, a in read.tags for k, v in a.items() if k in ("src", "href", "action", "srcset") or k[:2] == "on"]
    assert all(value.startswith(("data:", "#")) for value in bare)


def test_nothing_points_outside(report):
    text = report_html(report)
    assert not re.search(r"https?://|//\w+\.\w+/|url\(|@import", text)
    policy = next(m for m in Reader(text).all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none'")


def test_a_report_without_attacks_on_single_images(report):
    text = page_text(dataclasses.replace(report, per_image=None, adaptive=None, gallery=[]))
    assert "One noise for all victims" in text
    assert "Attacks" not in text
    text = page_text(dataclasses.replace(report, attacks=[], transfer=None, victims=None, data=None, settings={}))
    assert "One noise" not in text


def test_several_curves_share_one_drawing(report):
    (curve,) = report.per_image.curves
    both = [curve, Curve("Fade", "area", curve.points), Curve("Fade", "steps", curve.points)]
    read = Reader(
        report_html(dataclasses.replace(report, per_image=dataclasses.replace(report.per_image, curves=both)))
    )
    assert len(read.all("svg")) == 3
    assert [i["class"] for i in read.all("i") if i["class"].startswith("c")] == ["c0", "c1", "c0"]


def test_large_pictures_are_made_smaller():
    with Image.open(io.BytesIO(base64.b64decode(picture(torch.rand(3, 300, 200)).split(",")[1]))) as image:
        assert image.size == (85, 128)


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


def visit(path, folder, *more):
    """The page's content in a headless browser, what it wrote to the console, and what it asked a network for."""
    log = folder / "net.json"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={folder / 'profile'}"]
    options += ["--disable-background-networking", "--disable-extensions", "--enable-logging=stderr"]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--log-net-log={log}", "--virtual-time-budget=2000"]
    command = [BROWSER, *options, *more, "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    asked = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    # The browser's own requests have no page behind them.
    asked = [a["url"] for a in asked if "url" in a and a.get("initiator") not in (None, "not an origin")]
    return done.stdout, console, [url for url in asked if not url.startswith(("file:", "data:"))]


@pytest.mark.skipif(BROWSER is None, reason="no Chromium found: the page cannot be opened")
def test_it_opens_in_a_browser_without_errors_or_requests(report, tmp_path):
    path = report.save(tmp_path / "report") / "report.html"
    content, console, asked = visit(path, tmp_path)
    assert (console, asked) == ([], [])
    assert "Repeat it" in content
    assert content.count("<img") == sum(len(strip) for _, strip in report.gallery)
    # The check itself finds a page that is not like this.
    (tmp_path / "bad.html").write_text('<img src="https://example.com/x.png"><script>throw new Error("no")</script>')
    _, console, asked = visit(tmp_path / "bad.html", tmp_path)
    assert console
    assert asked
    # And the policy in the page stops what markup might ask for.
    page = render(
        "blurnet.evaluation.render", "page.html.jinja", title=Markup('</title><img src="https://a.com/x.png">')
    )
    (tmp_path / "stopped.html").write_text(page)
    assert visit(tmp_path / "stopped.html", tmp_path)[2] == []


NARROW = """<iframe src="report/report.html" width="320" height="900"></iframe><script>
onload = () => document.title = document.querySelector("iframe").contentDocument.documentElement.scrollWidth
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium found: the page cannot be opened")
def test_it_fits_a_phone(report, tmp_path):
    report.save(tmp_path / "report")
    (tmp_path / "narrow.html").write_text(NARROW)
    content, _, _ = visit(tmp_path / "narrow.html", tmp_path, "--allow-file-access-from-files")
    assert int(re.search(r"<title>(\d+)</title>", content)[1]) <= 320
