"""Reports and samples of evaluate.py against those of the recording."""

import os
from pathlib import Path
from typing import Any

import golden_evaluation
import golden_store
import pytest
from golden_evaluation import RUNS, Run

CHANGING = ("count", "value", "low", "high", "asr", "targeted", "dissimilarity", "total", "median", "most")


@pytest.fixture
def real_data() -> Path:
    folder = os.environ.get("BLURNET_SHARED_DATA")
    if not folder or not (Path(folder) / "rp2-lisa").is_dir():
        pytest.skip("real data absent: set BLURNET_SHARED_DATA to the folder that holds rp2-lisa/ and lisa-crops/")
    return Path(folder)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * run.slow) for name, run in RUNS.items()]
)
def test_an_evaluation_says_what_it_said(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    run: Run = RUNS[name]
    if why := golden_store.excepted("evaluation", name):
        pytest.skip(why)
    data = request.getfixturevalue("real_data") if run.real else None
    found, golden = (
        golden_evaluation.evaluate(run, tmp_path / "run", data),
        golden_store.read_json(f"evaluation/{name}"),
    )
    compare = _equal if golden_store.same_machine() else _similar
    figures = [golden_evaluation.figures(part["report"]) for part in (found, golden)]
    rows = [golden_evaluation.rows(part["samples"]) for part in (found, golden)]
    wrong = [*compare(name, *figures), *_rows(name, *rows, exact=golden_store.same_machine())]
    assert not wrong, f"{len(wrong)} differ:\n" + "\n".join(wrong[:30])


def _equal(case: str, found: dict[str, Any], golden: dict[str, Any]) -> list[str]:
    """Figures of the golden report that are missing or have another value; there may be more of them now."""
    wrong = [key for key, value in golden.items() if key not in found or found[key] != value]
    return [_told(key, found, golden) for key in wrong if not golden_store.excepted("evaluation", case, key)]


def _similar(case: str, found: dict[str, Any], golden: dict[str, Any]) -> list[str]:
    """On another machine: texts and sizes are equal, counts of fooled images differ by a few.

    What follows from single attacked images (confidences, calls, stages, places) is not compared.
    """
    wrong = []
    for key, value in golden.items():
        if "/stages/" in key or "/distance/" in key or key.startswith(("sanity", "flags", "per_image/places")):
            continue
        if key == "per_image/wrong_before":
            right = key in found and abs(found[key] - value) <= golden_store.IMAGES
        elif key.endswith("/count"):
            room = max(golden_store.IMAGES, 0.05 * golden[key.removesuffix("count") + "n"])
            right = key in found and abs(found[key] - value) <= room
        elif key.rpartition("/")[2] in CHANGING or "/worst/" in key:
            right = key in found
        else:
            right = key in found and found[key] == value
        if not right and not golden_store.excepted("evaluation", case, key):
            wrong.append(_told(key, found, golden))
    return wrong


def _rows(case: str, found: dict[str, Any], golden: dict[str, Any], *, exact: bool) -> list[str]:
    """Lines of samples.jsonl that differ; on another machine only their subjects are compared."""
    wrong = [] if list(found) == list(golden) else [f"rows of {list(found)}, golden {list(golden)}"]
    for attack in set(found) & set(golden):
        if len(found[attack]) != len(golden[attack]):
            wrong.append(f"{attack}: {len(found[attack])} rows, golden {len(golden[attack])}")
            continue
        for number, (now, before) in enumerate(zip(found[attack], golden[attack], strict=True)):
            keys = before if exact else [key for key in ("attack", "index", "label", "target") if key in before]
            wrong += [
                f"{attack}, row {number}: {_told(key, now, before)}"
                for key in keys
                if (key not in now or now[key] != before[key])
                # Each clean image is passed once, not once a stage and a place: fewer calls, never more.
                and not (key == "calls" and 0 <= now.get(key, -1) <= before[key])
                and not golden_store.excepted("evaluation", case, f"rows/{attack}/{key}")
            ]
    return wrong


def _told(key: str, found: dict[str, Any], golden: dict[str, Any]) -> str:
    return f"{key}: {found.get(key, 'missing')!r}, golden {golden[key]!r}"


def test_every_golden_evaluation_has_a_run() -> None:
    recorded = {path.stem for path in (golden_store.DATA / "evaluation").glob("*.json")}
    assert recorded == set(RUNS)


def test_figures_see_every_count_of_a_report() -> None:
    report = golden_store.read_json("evaluation/rp2-and-images")["report"]
    figures = golden_evaluation.figures(report)
    for name in ("rp2/average/asr", "rp2/target/12/asr/count", "per_image/robust/count", "victims_clean/accuracy/n"):
        assert isinstance(figures[name], int | float)
    assert figures["per_image/low-frequency/repr"].startswith("BestLocation(")
