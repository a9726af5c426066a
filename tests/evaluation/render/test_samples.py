"""samples.jsonl: its header and its rows."""

import json

from blurnet.evaluation.report.kept import AttackLine
from tests.evaluation.sample_report import record, sample_report


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
