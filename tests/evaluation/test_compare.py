import json
from pathlib import Path

import pytest

from blurnet.cli.evaluate import evaluate_main
from blurnet.evaluation.compare import compare
from blurnet.evaluation.reading import read_report
from blurnet.zoo.models import models_root
from tests.evaluation.tiny_report import NASTY, tiny_report
from tests.evaluation.tiny_subject import LIGHTNING

pytestmark = [pytest.mark.filterwarnings(text) for text in LIGHTNING]
SHIPPED = sorted(models_root().glob("*/report.json"))


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[Path]:
    """The same report twice, the second of a model with a name that tries to leave its cell."""
    report, _ = tiny_report(tmp_path_factory.mktemp("report"))
    folder = tmp_path_factory.mktemp("two")
    for name, title in (("a", "plain"), ("b", f"{NASTY}|x")):
        (folder / name).mkdir()
        changed = report | {"model": report["model"] | {"name": title}}
        (folder / name / "report.json").write_text(json.dumps(changed))
    return [folder / "a", folder / "b" / "report.json"]


def test_reports_stand_side_by_side(two, tmp_path):
    report = read_report(two[0])
    lines = compare(two, tmp_path / "new" / "both.html").splitlines()
    assert lines[0].startswith("| | plain | <script>")
    assert lines[0].endswith("\\|x |")
    rows = dict(line.strip("| ").split(" | ", 1) for line in lines[2:] if line.startswith("|"))
    robust = report["per_image"]["robust"]
    (first,) = [value for key, value in rows.items() if key.startswith("robust accuracy, worst case")]
    said = f"{robust['value']:.1f} % [{robust['low']:.1f}, {robust['high']:.1f}], n = {robust['n']}"
    assert first == f"{said} | {said}"
    assert lines[-1] == "- Some reports are about the same weights."
    text = (tmp_path / "new" / "both.html").read_text()
    assert "<script" not in text
    assert "python evaluate.py --x" in text


@pytest.mark.skipif(len(SHIPPED) < 2, reason="no shipped reports")
def test_shipped_reports_of_any_format_are_read(two, capsys):
    assert evaluate_main(["--compare", str(SHIPPED[0]), str(SHIPPED[1].parent), str(two[0])]) == 0
    out = capsys.readouterr().out
    assert f"| | {SHIPPED[0].parent.name} | {SHIPPED[1].parent.name} | plain |" in out
    assert "altered by rp2, worst target" in out


def test_other_images_or_threats_are_pointed_out(two, tmp_path):
    report = read_report(two[0])
    report["per_image"]["on"]["n"] = 3
    (tmp_path / "c.json").write_text(json.dumps(report | {"flags": [{"name": "f", "cause": "why"}]}))
    text = compare([two[0], tmp_path / "c.json"])
    assert "they do not compare" in text
    assert "- plain (2): flag f: why" in text


GOOD = {"format": 1, "blurnet": "0", "versions": {}, "command": "", "model": {"name": "x"}, "attacks": []}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such report"),
        (b"\xff\xfe\x00", "not a text file"),
        (b'{"format": 2, "blurnet": "0.', "not JSON"),
        (b"[1, 2]", 'no report: expected "format" 1 or 2, got \'list\''),
        (b'{"format": 3}', "got 3"),
        (b'{"format": 1, "title": "a card"}', "blurnet, versions, command, model, attacks missing"),
        (b'{"format": 1, "model": "x"}', "model"),
        (json.dumps(GOOD).encode(), "a damaged report (KeyError: 'sha256')"),
        (json.dumps(GOOD | {"attacks": [{"name": 1}]}).encode(), "a damaged report"),
        (json.dumps(GOOD | {"per_image": {"on": 1}}).encode(), "a damaged report"),
        (b'{"format": NaN}', "NaN is not JSON"),
    ],
)  # fmt: skip
def test_what_is_no_report_ends_in_one_line(tmp_path, capsys, content, message):
    path = tmp_path / "report.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit) as exit_info:
        evaluate_main(["--compare", str(path)])
    error = capsys.readouterr().err
    assert exit_info.value.code == 2
    assert message in error
    assert error.count("\n") == 1
