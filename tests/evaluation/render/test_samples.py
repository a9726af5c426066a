"""samples.jsonl: its header and its rows."""

import json

import pytest

from blurnet.evaluation.render.samples import header, samples
from blurnet.evaluation.report.kept import AttackLine
from blurnet.files import write_json_lines
from tests.evaluation.sample_report import record, sample_report


def text_of(report, folder):
    write_json_lines(folder / "samples.jsonl", samples(report))
    return (folder / "samples.jsonl").read_text()


def test_samples_begin_with_a_header(tmp_path):
    sample_report().save(tmp_path)
    header, *rows = map(json.loads, (tmp_path / "samples.jsonl").read_text().splitlines())
    assert header["header"] is True
    assert header["model"] == {"name": "tiny", "sha256": "0" * 64}
    assert [attack["name"] for attack in header["attacks"]] == ["Blot", "Fade", "rp2", "rp2 from another"]
    assert [attack["threat"] for attack in header["attacks"]][1:3] == [
        "the whole image, linf at most 8/255",
        "shared noise",
    ]
    assert len(rows) == 2
    assert rows[0]["margin"] == -0.333333
    assert list(rows[0]) == list(type(record(0)).__slots__)
    assert (rows[1]["robust"], rows[1]["stage"], rows[1]["box"]) == (True, None, None)
    more = sample_report(record_attacks=(AttackLine("Blot 2 %", "Blot()", 0, "a patch", curve=True),))
    more.save(tmp_path)
    assert json.loads((tmp_path / "samples.jsonl").read_text().splitlines()[0])["attacks"][0]["curve"] is True


def test_a_line_is_one_attack_on_one_image(tmp_path):
    rows = (record(3, margin=0.12345678, target=2), record(5, attack="Fade", stage=None, box=None))
    text = text_of(sample_report(records=rows), tmp_path)
    assert text.endswith("}\n")
    _, first, second = map(json.loads, text.splitlines())
    assert (first["index"], first["target"], first["margin"], first["box"]) == (3, 2, 0.123457, [1, 3, 2, 4])
    assert (second["attack"], second["index"], second["stage"], second["box"]) == ("Fade", 5, None, None)
    with pytest.raises(ValueError, match="not JSON compliant"):
        text_of(sample_report(records=(record(0, confidence=float("nan")),)), tmp_path)


def test_the_header_alone_where_nothing_was_attacked(tmp_path):
    report = sample_report(records=(), per_image=None, attacks=[], transfer=None)
    (line,) = text_of(report, tmp_path).splitlines()
    assert json.loads(line) == header(report)
    assert header(report)["attacks"] == []
    assert {key: header(report)[key] for key in ("format", "blurnet", "command")} == {
        "format": 3,
        "blurnet": "0.1.0",
        "command": "python evaluate.py --x",
    }
