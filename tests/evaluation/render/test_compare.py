"""Reports side by side: in Markdown, and as a page."""

import dataclasses
from pathlib import Path

import pytest

from blurnet.evaluation.render.compare import compare
from blurnet.evaluation.report.parts import AdaptivePart
from blurnet.zoo.models import models_root
from tests.evaluation.sample_report import FLAG, NASTY, sample_report

SHIPPED = sorted(models_root().glob("*/report.json"))


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[Path]:
    """The same report twice, the second of a model with a name that tries to leave its cell."""
    folder = tmp_path_factory.mktemp("two")
    for name, title in (("a", "plain"), ("b", f"{NASTY}|x")):
        report = sample_report(defenses=None)
        dataclasses.replace(report, model=dataclasses.replace(report.model, name=title)).save(folder / name)
    return [folder / "a", folder / "b" / "report.json"]


def test_reports_stand_side_by_side(two, tmp_path):
    report = sample_report()
    lines = compare(two, tmp_path / "new" / "both.html").splitlines()
    assert lines[0].startswith("| | plain | <script>")
    assert lines[0].endswith("\\|x |")
    assert lines[1] == "| --- | ---: | ---: |"
    rows = dict(line.strip("| ").split(" | ", 1) for line in lines[2:] if line.startswith("|"))
    assert rows["robust accuracy, worst case on six signs"] == f"{report.robust} | {report.robust}"
    assert next(iter(rows)) == "robust accuracy, worst case on six signs"
    assert list(rows)[-1] == "altered by rp2, worst target"
    assert lines[-1] == "- Some reports are about the same weights."
    text = (tmp_path / "new" / "both.html").read_text()
    assert "<script" not in text
    assert "python evaluate.py --x" in text
    assert "(27.0-94.0)" not in text
    assert f"{report.robust.short}, n = 6 in 3 groups" in text


def test_added_defenses_belong_to_the_name(tmp_path):
    assert compare([sample_report().save(tmp_path)]).startswith("| | tiny behind lgs |\n")


def test_a_rate_that_a_report_lacks_is_a_dash(two, tmp_path):
    bare = sample_report(per_image=None, attacks=[]).save(tmp_path)
    row = next(line for line in compare([two[0], bare]).splitlines() if line.startswith("| robust accuracy, worst"))
    assert row.endswith("n = 6 in 3 groups | - |")


@pytest.mark.skipif(len(SHIPPED) < 2, reason="no shipped reports")
def test_shipped_reports_of_any_format_are_read(two):
    text = compare([SHIPPED[0], SHIPPED[1].parent, two[0]])
    assert f"| | {SHIPPED[0].parent.name} | {SHIPPED[1].parent.name} | plain |" in text
    assert "altered by rp2, worst target" in text


def test_what_makes_reports_less_comparable_is_pointed_out(two, tmp_path):
    images = sample_report().per_image
    fewer = dataclasses.replace(images, on=dataclasses.replace(images.on, n=3))
    other = sample_report(flags=[FLAG], per_image=fewer, defenses=None).save(tmp_path)
    text = compare([two[0], other])
    assert "they do not compare" in text
    assert "- tiny: flag zero-gradient: a hard step" in text
    weak = sample_report(adaptive=AdaptivePart(False, ["LGS()"], "NOT adaptive."), defenses=None).save(tmp_path)
    text = compare([weak, weak])
    assert "- tiny (2): NOT adaptive." in text
    assert "they do not compare" not in text


def test_a_file_that_is_no_report_is_named(two, tmp_path):
    (tmp_path / "report.json").write_text("[]")
    with pytest.raises(ValueError, match=f"{tmp_path}/report.json: no report"):
        compare([two[0], tmp_path])
