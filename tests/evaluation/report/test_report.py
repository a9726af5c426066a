"""The report: JSON round trips, files that are written, and files that are no report."""

import dataclasses
import json

import pytest

from blurnet.evaluation.report.parts import SanityRow
from blurnet.evaluation.report.report import Report, read_report
from blurnet.zoo.models import models_root
from tests.evaluation.sample_report import FLAG, sample_report, victim_pictures

SHIPPED = sorted(models_root().glob("*/report.json"))
FILES = ["report.html", "report.json", "samples.jsonl", "summary.md"]
PICTURES = ["gallery.png", "radial_energy.png", "spectra_maps.png", "spectra_rgb.png", "success_by_target.png"]


def test_round_trip():
    for report in (sample_report(), sample_report(per_image=None, transfer=None, sanity=None, flags=[FLAG], data=None)):
        assert Report.from_json(report.to_json()) == report
        assert Report.from_json(report.to_json()).to_json() == report.to_json()


def test_rows_and_pictures_are_no_part_of_the_value():
    report = sample_report()
    bare = dataclasses.replace(report, records=(), gallery=[], victim_pictures=victim_pictures())
    assert report == bare
    assert repr(report) == repr(bare)
    assert report.to_json() == bare.to_json()
    with pytest.raises(ValueError, match=r"unknown \['records'\]"):
        Report.from_json(json.dumps(json.loads(report.to_json()) | {"records": []}))


def test_the_headline_is_the_worst_case_of_each_image():
    assert sample_report().robust == sample_report().per_image.robust
    assert sample_report(per_image=None).robust is None


def test_keys_of_the_json():
    data = json.loads(sample_report().to_json())
    assert list(data)[:6] == ["format", "blurnet", "versions", "command", "settings", "model"]
    assert data["format"] == 3
    assert data["clean"] == {"value": 97.5, "n": 40, "count": 39, "low": 86.84, "high": 99.94}
    assert data["per_image"]["robust"]["groups"] == 3
    assert data["per_image"]["on"]["size"] == [12, 12]
    assert data["attacks"][0]["average"]["asr"]["count"] == 7
    with pytest.raises(ValueError, match="not JSON compliant"):
        sample_report(settings={"lr": float("nan")}).to_json()


def test_printing_it_shows_the_tables():
    text = str(sample_report())
    assert text.startswith("# Robustness of tiny\n\n- accuracy on tiny (test): 97.5 % [86.8, 99.9], n = 40\n")
    assert "| Blot | one square patch | 33.3 % [4.3, 77.7], n = 6 | 60.0 % [14.7, 94.7], n = 5 | 1,024 |" in text


def test_save_writes_every_file_and_nothing_else(tmp_path):
    report = sample_report(victim_pictures=victim_pictures())
    folder = report.save(tmp_path / "new" / "folder")
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES + PICTURES)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert read_report(folder) == read_report(folder / "report.json") == report
    assert (folder / "summary.md").read_text() == str(report)
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    again = sample_report(victim_pictures=victim_pictures()).save(tmp_path / "again")
    assert {path.name: path.read_bytes() for path in again.iterdir()} == first


def test_a_report_that_was_read_leaves_the_samples_alone(tmp_path):
    sample_report().save(tmp_path)
    samples = (tmp_path / "samples.jsonl").read_text()
    read_report(tmp_path).save(tmp_path)
    assert (tmp_path / "samples.jsonl").read_text() == samples


def test_the_report_is_written_last(tmp_path, monkeypatch):
    monkeypatch.setattr("blurnet.evaluation.report.report.summary", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sample_report().save(tmp_path)
    assert not (tmp_path / "report.json").exists()


@pytest.mark.skipif(not SHIPPED, reason="no shipped reports")
def test_shipped_reports_are_read_and_kept():
    for path in SHIPPED:
        report = read_report(path)
        assert Report.from_json(report.to_json()) == report


GOOD = {"format": 1, "blurnet": "0", "versions": {}, "command": "", "model": {"name": "x"}, "attacks": []}
MODEL = {"name": "x", "sha256": "0", "parameters": 1}
NO_REPORTS = [
    (None, "no such report"),
    (b"\xff\xfe\x00", "not a text file"),
    (b'{"format": 2, "blurnet": "0.', "not JSON"),
    (b"[1, 2]", "no report: expected \"format\" 1, 2 or 3, got 'list'"),
    (b'{"format": 4}', "got 4"),
    (b'{"format": true}', "got True"),
    (b'{"format": 1, "title": "a card"}', "blurnet, versions, command, model, attacks missing"),
    (b'{"format": 1, "model": "x"}', "model"),
    (json.dumps(GOOD).encode(), "model: missing ['sha256', 'parameters']"),
    (json.dumps(GOOD | {"format": 3}).encode(), "model: missing ['sha256', 'parameters']"),
    (json.dumps(GOOD | {"attacks": [{"name": 1}]}).encode(), "a damaged report (KeyError: 'per_target')"),
    (json.dumps(GOOD | {"model": MODEL, "per_image": {"on": 1}}).encode(), "per_image: "),
    (b'{"format": NaN}', "NaN is not JSON"),
    (b'{"format": 3, "area": 1e999}', "1e999 is not JSON"),
    (b'{"format": 3, "x": ' + b"[" * 100_000, "not JSON"),
    (b'{"format": 3, "format": 3}', "repeated keys ['format']"),
]


@pytest.mark.parametrize(("content", "message"), NO_REPORTS)
def test_what_is_no_report_is_said_in_one_line(tmp_path, content, message):
    path = tmp_path / "report.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((FileNotFoundError, ValueError)) as caught:
        read_report(tmp_path if content is not None else path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flags": [{"name": "f", "cause": "why"}]}, r"flags\[0\]: missing \['cure', 'evidence'\]"),
        ({"sanity": [{"threat": "x", "images": "7", "flags": []}]}, r"sanity\[0\]: images: expected int, got '7'"),
        ({"clean": {"value": 90.0, "n": 40, "count": 39, "low": 1.0, "high": 99.0}}, "39 in 40 is not 90.0 %"),
        ({"more": 1}, r"unknown \['more'\]"),
    ],
)
def test_a_damaged_part_is_named(change, message):
    data = json.loads(sample_report().to_json())
    with pytest.raises(ValueError, match=message):
        Report.from_json(json.dumps(data | change))
    assert SanityRow("x", 7, []) in sample_report(sanity=[SanityRow("x", 7, [])]).sanity
