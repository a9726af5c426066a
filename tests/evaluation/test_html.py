import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
import torch

from blurnet.evaluation.document import document
from blurnet.evaluation.gallery import Shown
from blurnet.evaluation.html import page, write_html
from blurnet.evaluation.markup import Markup, element, picture
from blurnet.evaluation.svg import heat_map, line_chart
from tests.evaluation.tiny_report import NASTY, tiny_report
from tests.evaluation.tiny_subject import LIGHTNING

pytestmark = [pytest.mark.filterwarnings(text) for text in LIGHTNING]
FLAG = {
    "name": "zero gradients",
    "cause": "a hard step",
    "cure": "use a surrogate",
    "evidence": {"images": 7, "zero": 6.5},
}
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
def made(tmp_path_factory):
    return tiny_report(tmp_path_factory.mktemp("report"))


def test_the_page_says_what_the_report_says(made):
    report, rows = made
    images, text = report["per_image"], " ".join(Reader(page(*made)).text)
    assert f"{images['robust']['value']:.1f}" in text
    assert f"{images['wrong_before']} wrong before any attack" in text
    for attack in [*images["attacks"], *report["attacks"]]:
        assert attack["repr"] in text
    assert report["command"] in text
    assert report["adaptive"]["note"] in text
    assert "Flags" not in text
    assert len(rows) == 3
    assert page(*made) == page(*made)


def test_pictures_and_charts_are_described_and_inside(made):
    read = Reader(page(*made))
    images = read.all("img")
    assert len(images) == sum(len(row) for _, row in made[1])
    assert all(image["src"].startswith("data:image/png;base64,") and len(image["alt"]) > 10 for image in images)
    for drawing in read.all("svg"):
        labels = drawing["aria-labelledby"].split()
        assert [tag for tag, attributes in read.tags if attributes.get("id") in labels] == ["title", "desc"]
    assert len(read.all("svg")) == 2  # the curve of Blot over its area, and the map of places
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in read.tags}


def test_flags_stand_with_cause_and_cure(made):
    report, rows = made
    text = " ".join(Reader(page(report | {"flags": [FLAG]}, rows)).text)
    assert all(FLAG[key] in text for key in ("name", "cause", "cure"))
    assert "images 7, zero 6.5" in text


def test_checks_without_flags_are_told_from_checks_left_out(made):
    report, rows = made
    assert "The sanity checks were NOT run." in page(report, rows)
    done = report | {"sanity": [{"threat": "one patch", "images": 7, "flags": []}]}
    assert "raised no flag on 7 images (one patch)" in page(done, rows)
    assert "answers none of the first ones rightly" in page(report | {"sanity": [{"threat": "x", "images": 0}]})


def nasty(value):
    """Every text of a report, replaced by one that tries to leave its place."""
    if isinstance(value, dict):
        return {key: value[key] if key in ("axis",) else nasty(value[key]) for key in value}
    if isinstance(value, list):
        return [nasty(item) for item in value]
    return NASTY if isinstance(value, str) else value


def test_everything_is_escaped(made):
    report, _ = made
    shown = [Shown(NASTY, torch.zeros(3, 4, 4), NASTY, NASTY, True)]
    text = page(nasty(report | {"flags": [FLAG]}), [(NASTY, shown)])
    read = Reader(text)
    assert not read.all("script")
    assert "alert" not in "".join(
        value or "" for tag, attributes in read.tags if tag == "script" for value in attributes
    )
    assert text.count("<script") == 0
    bare = [v for _, a in read.tags for k, v in a.items() if k in ("src", "href", "action", "srcset") or k[:2] == "on"]
    assert all(value.startswith("data:") for value in bare)


def test_nothing_points_outside(made):
    text = page(*made)
    assert not re.search(r"https?://|//\w+\.\w+/|url\(|@import", text)
    policy = next(m for m in Reader(text).all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none'")


def test_a_report_without_attacks_image_by_image(made):
    report, _ = made
    old = {key: value for key, value in report.items() if key not in ("per_image", "adaptive")} | {"format": 1}
    text = " ".join(Reader(page(old)).text)
    assert "One sticker for all victims" in text
    assert "Attacks" not in text


def test_markup():
    assert (
        element("p", "<&>", title='a"b', class_="c", aria_label=None)
        == '<p title="a&quot;b" class="c">&lt;&amp;&gt;</p>'
    )
    assert element("p", Markup("<b>"), 0.5, None) == "<p><b>0.5</p>"
    big = picture(torch.rand(3, 300, 200), "x")
    assert 'width="85" height="128"' in big


def test_charts_of_a_single_point_and_of_one_cell():
    found = {"value": 50.0, "low": 10.0, "high": 90.0, "n": 4}
    chart = line_chart([("a", [{"value": 10, "robust": found}])], "steps", "one")
    assert chart.count("<circle") == 1
    assert "nan" not in chart
    assert heat_map([[0.0]], "none").count("<rect") == 0


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


def visit(path, folder):
    """The page's content in a headless browser, what it wrote to the console, and what it asked a network for."""
    log = folder / "net.json"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={folder / 'profile'}"]
    options += ["--disable-background-networking", "--disable-extensions", "--enable-logging=stderr"]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--log-net-log={log}", "--virtual-time-budget=2000"]
    command = [BROWSER, *options, "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    asked = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    # The browser's own requests have no page behind them.
    asked = [a["url"] for a in asked if "url" in a and a.get("initiator") not in (None, "not an origin")]
    return done.stdout, console, [url for url in asked if not url.startswith(("file:", "data:"))]


@pytest.mark.skipif(BROWSER is None, reason="no Chromium found: the page cannot be opened")
def test_it_opens_in_a_browser_without_errors_or_requests(made, tmp_path):
    path = write_html(tmp_path, *made)
    content, console, asked = visit(path, tmp_path)
    assert (console, asked) == ([], [])
    assert "Repeat it" in content
    assert content.count("<img") == sum(len(row) for _, row in made[1])
    # The check itself finds a page that is not like this.
    (tmp_path / "bad.html").write_text('<img src="https://example.com/x.png"><script>throw new Error("no")</script>')
    _, console, asked = visit(tmp_path / "bad.html", tmp_path)
    assert console
    assert asked
    # And the policy in the page stops what markup might ask for.
    (tmp_path / "stopped.html").write_text(document("x", Markup('<img src="https://example.com/x.png">')))
    assert visit(tmp_path / "stopped.html", tmp_path)[2] == []
