"""summary.md: the numbers of the report, in tables that names cannot leave."""

import dataclasses
import re
from itertools import pairwise

from blurnet.evaluation.render.summary import evidence, summary
from blurnet.evaluation.report.parts import SanityRow
from tests.evaluation.sample_report import FLAG, sample_report


def test_every_number_stands_with_its_interval():
    report = sample_report(flags=[FLAG])
    text = summary(report)
    rates = [report.clean, report.victims_clean, report.robust, report.attacks[0].average.asr]
    rates += [point.robust for curve in report.per_image.curves for point in curve.points]
    rates += [row.targeted for row in report.attacks[0].per_target]
    assert all(str(rate) in text for rate in rates)
    assert "n = 6 in 3 groups" in text
    assert "- **zero-gradient**: a hard step To do: use a surrogate Seen: images 7, zero 6.5 (one patch)." in text
    assert text.endswith("## Command\n\n    python evaluate.py --x\n")
    assert not re.search(r"\n{3}|undefined| None", text)


def test_stages_are_listed_where_there_are_several():
    text = summary(sample_report())
    assert "| stage | images |\n| --- | ---: |\n| wrong before any attack | 1 |\n| first | 2 |" in text
    assert text.count("| stage | images |") == 1


def test_tables_are_whole():
    """Every table has as many cells in each row as in its head, whatever the names are."""
    report = sample_report()
    attack = dataclasses.replace(report.per_image.attacks[0], name="a|b\nc", threat="x | y")
    changed = dataclasses.replace(report, per_image=dataclasses.replace(report.per_image, attacks=[attack]))
    rows = [re.sub(r"\\\|", "", line) for line in summary(changed).splitlines()]
    for above, below in pairwise(rows):
        if above.startswith("|") and below.startswith("|"):
            assert above.count("|") == below.count("|")


def test_parts_that_are_not_there_leave_nothing():
    text = summary(sample_report(per_image=None, attacks=[], transfer=None, data=None, victims=None, adaptive=None))
    assert "Image by image" not in text
    assert "Attack success" not in text
    assert "accuracy" not in text
    assert "- parameters: 1,234; weights sha256 `0000000000000000`" in text
    assert "The sanity checks were NOT run." in summary(sample_report(sanity=None))
    assert "no attack is bound to a patch" in summary(sample_report(sanity=[]))
    assert "answers none of the first ones correctly" in summary(sample_report(sanity=[SanityRow("x", 0, [])]))


def test_what_a_check_saw_is_text():
    assert evidence(FLAG) == "images 7, zero 6.5 (one patch)"
    assert evidence(dataclasses.replace(FLAG, threat=None, evidence={"a_b": 1 / 3})) == "a b 0.3333"
