"""Reports of earlier versions, turned into the present format."""

import dataclasses
import json

import pytest

from blurnet.evaluation.report.report import Report, read_report
from blurnet.rates import Rate
from tests.evaluation.sample_report import FLAG, sample_report, universal


def earlier(number: int) -> dict:
    """The sample report as a version before format 3 wrote it."""
    data = json.loads(sample_report(flags=[FLAG]).to_json())
    data["format"] = number
    del data["settings"], data["model"]["image_size"], data["model"]["fit"], data["data"]["groups"]
    for key in ("clean", "victims_clean"):
        data[key] = {"accuracy": data[key]}
    for attack in (data["attacks"][0], data["transfer"]):
        asr, targeted = attack["average"]["asr"], attack["average"]["targeted"]
        attack["average"] |= {key: asr[key] for key in ("low", "high", "n")}
        attack["average"] |= {"asr": asr["value"], "targeted": targeted["value"]}
    del data["attacks"][0]["source"]
    if number == 1:
        for key in ("per_image", "adaptive", "defenses", "sanity", "flags"):
            del data[key]
    return data


@pytest.mark.parametrize("number", [1, 2])
def test_earlier_formats_are_turned_into_the_present_one(number, tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(earlier(number)))
    now = sample_report(flags=[FLAG])
    lacking = {"per_image": None, "adaptive": None, "defenses": None, "sanity": None, "flags": []}
    changes = {"settings": {}, "model": dataclasses.replace(now.model, image_size=None, fit=None)}
    changes |= {"data": dataclasses.replace(now.data, groups=None), **(lacking if number == 1 else {})}
    assert read_report(tmp_path) == dataclasses.replace(now, **changes)


def test_an_earlier_report_of_untargeted_noise():
    data = earlier(2)
    data["attacks"][0]["average"]["targeted"] = None
    for row in data["attacks"][0]["per_target"]:
        row["targeted"] = None
    data["transfer"] = None
    (attack,) = Report.from_json(json.dumps(data)).attacks
    assert attack.average.targeted is None
    assert attack.average.asr == universal().average.asr == Rate.pooled(7, 14, 7)
