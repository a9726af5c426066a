"""Golden evaluations: command lines of ``evaluate.py``, and the figures of a report that must keep their values."""

import contextlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blurnet.cli import evaluate_main

QUIET = ["--device", "cpu", "--trainer.enable_progress_bar", "false"]
#: Attacks of one stage went by their class in some lines and by their name in others; now by their name in all.
STAGES = {
    "PatchRandomSearch": "patch-search",
    "HardLabel": "hard-label",
    "Square": "square",
    "PatchPGD": "patch-pgd",
    "LowFrequency": "low-frequency",
}
LEFT_OUT = ("command", "versions", "blurnet")  #: of the report and of the header: not recorded


@dataclass(frozen=True)
class Run:
    """One command line; ``{rp2}``, ``{crops}`` and ``{noise}`` in it stand for real data."""

    line: str
    slow: bool = False
    sanity: bool = False

    @property
    def real(self) -> bool:
        """Whether it needs real data."""
        return "{" in self.line

    def arguments(self, out: Path, data: Path | None) -> list[str]:
        """What ``evaluate_main`` is given."""
        places = {} if data is None else {
            "rp2": f"rp2:{data / 'rp2-lisa'}",
            "crops": f"lisa-crops:{data / 'lisa-crops'}",
            "noise": data / "rp2-lisa" / "published_noise.safetensors",
            "printable": data / "rp2-lisa",
        }  # fmt: skip
        checks = ["--allow-flags"] if self.sanity else ["--no-sanity"]
        return [*self.line.format(**places).split(), "--out", str(out), *QUIET, *checks]


DATA_RUN = "--on data --data synthetic --limit 12 --shard 4"
CROPS_RUN = "--on data --data {crops} --limit 12 --shard 4"

RUNS = {
    # rp2, one noise for all victims
    "rp2-targets": Run("--model lisa_cnn --attacks rp2 --targets 12,3 --steps 15 --chunk 1"),
    "rp2-untargeted-eot": Run(
        "--model lisa_cnn-patch --attacks rp2 --targets untargeted --steps 8 "
        "--eot rotation=10,brightness,noise,perspective,crop,resize"
    ),
    "rp2-transfer": Run("--model lisa_cnn-lgs --transfer-from lisa_cnn --attacks rp2 --targets 5,12 --steps 10"),
    "rp2-restarts-margin-l1": Run(
        "--model lisa_cnn --attacks rp2 --targets 3,7 --steps 8 --restarts 2 --norm l1 --lam 0.001 --loss margin "
        "--keep reached --size 48 --transform image --eot resize --mask octagon --seed 4"
    ),
    "rp2-real": Run("--model lisa_cnn --victims {rp2} --attacks rp2 --targets 12,3,0 --steps 15 --lam 0.002"),
    "rp2-real-lgs": Run("--model lisa_cnn-lgs --victims {rp2} --attacks rp2 --targets 12,2 --steps 30 --lam 0.002"),
    "rp2-real-printable": Run(
        "--model lisa_cnn --victims {rp2} --attacks rp2 --targets 12 --steps 25 --lam 0.002 --nps 0.001 --nps_on color "
        "--printable {printable}"
    ),
    "rp2-replay": Run(
        "--model lisa_cnn --victims {rp2} --attacks rp2 --targets 12 --steps 4 --noise {noise}:noise_stickers "
        "--noise-target 12 --data {crops}"
    ),
    # image by image, on the victims
    "autopatch": Run("--model lisa_cnn --attacks autopatch --budget quick --patch 0.01 --limit 12 --shard 4"),
    "lavan-pgd": Run("--model lisa_cnn-lgs --attacks lavan,pgd --limit 8 --image-steps 12 --shard 4 --eps 4/255"),
    "search": Run(
        "--model lisa_cnn --attacks square,patch-search,hard-label --limit 12 --image-steps 40 --eps 16/255 --shard 8"
    ),
    "mask": Run(
        "--model lisa_cnn-patch --attacks autopatch,lavan,patch-pgd,low-frequency,patch-search,hard-label "
        "--budget quick --patch mask --mask stickers --limit 5 --image-steps 12 --shard 4 --seed 3"
    ),
    "defenses": Run(
        "--model lisa_cnn --defenses jpeg:quality=30,lgs --attacks patch-pgd,pgd,square --limit 12 --patch 0.01 "
        "--image-steps 10 --eps 2/255"
    ),
    "random-defenses": Run(
        "--model lisa_cnn --defenses random_resize_pad:grow=false:ratio=1.2,bit_depth:bits=4,median "
        "--attacks patch-pgd,patch-search --limit 8 --image-steps 10 --shard 4"
    ),
    "not-adaptive": Run("--model lisa_cnn-lgs --no-adaptive --attacks lavan,patch-pgd --limit 6 --image-steps 10"),
    "not-adaptive-blind": Run(
        "--model lisa_cnn --defenses jpeg:quality=30 --no-adaptive --attacks patch-search,square,hard-label --limit 6 "
        "--image-steps 25"
    ),
    "sanity": Run("--model lisa_cnn --attacks pgd,patch-pgd --limit 6 --image-steps 12", sanity=True),
    "sanity-lgs-mask": Run(
        "--model lisa_cnn-lgs --attacks autopatch,lavan --budget quick --patch mask --limit 5 --image-steps 10 "
        "--transfer-from lisa_cnn",
        slow=True,
        sanity=True,
    ),
    "rp2-and-images": Run(
        "--model lisa_cnn-lgs --attacks rp2,low-frequency --targets 12 --steps 8 --limit 6 --image-steps 10 "
        "--keep-images 2"
    ),
    # image by image, on test data
    "data-curves": Run(
        f"--model lisa_cnn-synthetic --attacks lavan,patch-pgd {DATA_RUN} --image-steps 10 --curve-areas 0.02,0.1 "
        "--curve-steps 4,20"
    ),
    "data-transfer": Run(
        f"--model lisa_cnn-lgs --attacks transfer,universal-patch,low-frequency {DATA_RUN} --image-steps 10 "
        "--transfer-from lisa_cnn"
    ),
    "data-autopatch-transfer": Run(
        f"--model lisa_cnn-synthetic-linf7 --attacks autopatch,pgd {DATA_RUN} --budget quick --patch 0.02 "
        "--transfer-from lisa_cnn-synthetic --image-steps 15 --eps 4/255"
    ),
    "victims-real": Run(
        "--model lisa_cnn-lgs --victims {rp2} --attacks autopatch --budget quick --limit 8 --patch 0.01"
    ),
    "mask-real": Run(
        "--model lisa_cnn-lgs --victims {rp2} --attacks patch-pgd,low-frequency,patch-search --patch mask "
        "--mask stickers --limit 8 --image-steps 25"
    ),
    "crops": Run(f"--model lisa_cnn-lgs --attacks lavan,patch-pgd,pgd {CROPS_RUN} --image-steps 12"),
    "crops-search": Run(
        f"--model lisa_cnn-patch --attacks square,patch-search,hard-label {CROPS_RUN} --image-steps 25"
    ),
    "crops-transfer": Run(
        f"--model lisa_cnn-patch --attacks transfer,universal-patch {CROPS_RUN} --image-steps 12 "
        "--transfer-from lisa_cnn --curve-areas 0.1"
    ),
    "crops-autopatch": Run(
        f"--model lisa_cnn --attacks autopatch,low-frequency {CROPS_RUN} --budget quick --patch 0.01 --seed 2"
    ),
    # slow: the budgets that cards quote
    "standard": Run(
        "--model lisa_cnn-patch --attacks autopatch,patch-pgd --limit 8 --shard 4 --transfer-from lisa_cnn", slow=True
    ),
    "crops-standard": Run(
        "--model lisa_cnn-lgs --attacks autopatch --on data --data {crops} --limit 8 --shard 8 --curve-steps 50",
        slow=True,
        sanity=True,
    ),
    "rp2-all": Run("--model lisa_cnn-patch --victims {rp2} --attacks rp2 --steps 60 --restarts 2", slow=True),
}  # fmt: skip


def evaluate(run: Run, out: Path, data: Path | None) -> dict[str, Any]:
    """Run it and read what it wrote: {"report": ..., "samples": ...}, as a golden file holds it."""
    with contextlib.redirect_stdout(io.StringIO()):
        status = evaluate_main(run.arguments(out, data))
    assert status == 0
    report = json.loads((out / "report.json").read_text())
    lines = (out / "samples.jsonl").read_text().splitlines()
    return {"report": _less(report), "samples": table(lines)}


def table(lines: Iterable[str]) -> dict[str, Any]:
    """The lines of samples.jsonl as a table: the header, and the rows of each attack under their keys."""
    header, *found = [json.loads(line) for line in lines]
    tables: dict[str, Any] = {"header": _less(header)}
    for row in found:
        name = row["attack"]
        part = tables.setdefault(f"rows of {name}", {"keys": list(row), "rows": []})
        part["rows"].append([row[key] for key in part["keys"]])
    return tables


def rows(samples: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Of samples.jsonl, read by :func:`table`: the rows of each attack, in order. The header is no figure."""
    parts = {name.removeprefix("rows of "): part for name, part in samples.items() if name != "header"}
    return {name: [_row(part["keys"], row) for row in part["rows"]] for name, part in parts.items()}


def _row(keys: list[str], values: list[Any]) -> dict[str, Any]:
    row = dict(zip(keys, values, strict=True))
    return row | ({"stage": STAGES.get(row["stage"], row["stage"])} if "stage" in row else {})


def figures(report: dict[str, Any]) -> dict[str, Any]:
    """Everything in a report.json that must keep its value, flat: {"rp2/average/asr": 43.75, ...}.

    The only place that knows how a report is laid out. The golden files have format 2; a new format is another branch
    here that gives the same names, and this one stays for as long as there are golden files of its format.
    """
    if report["format"] == 3:
        report = _as_format_2(report)
    elif report["format"] != 2:
        raise NotImplementedError(f"figures: say here where format {report['format']} keeps what format 2 held")
    found: dict[str, Any] = {}
    for key in ("model", "data", "victims", "clean", "victims_clean", "adaptive"):
        _put(found, key, report[key])
    _put(found, "defenses", report["defenses"])
    found["attacks"] = [attack["name"] for attack in report["attacks"]]
    for attack in report["attacks"]:
        _put(found, attack["name"], _by_target(attack))
    _put(found, "transfer", report["transfer"] and _by_target(report["transfer"]))
    if (images := report["per_image"]) is None:
        found["per_image"] = None
    else:
        for key in ("on", "clean", "wrong_before", "robust", "places"):
            _put(found, f"per_image/{key}", images[key])
        for threat in images["by_threat"]:
            _put(found, f"per_image/threat {threat['threat']}", {k: threat[k] for k in ("attacks", "robust")})
        for attack in images["attacks"]:
            stages = {STAGES.get(stage["name"], stage["name"]): stage["n"] for stage in attack["stages"]}
            _put(found, f"per_image/{attack['name']}", {**attack, "stages": stages})
        for curve in images["curves"]:
            points = {f"{point['value']:g}": point["robust"] for point in curve["points"]}
            _put(found, f"per_image/curve {curve['attack']} {curve['axis']}", points)
    _put(found, "sanity", report["sanity"])
    _put(found, "flags", report["flags"])
    return found


def _as_format_2(report: dict[str, Any]) -> dict[str, Any]:
    """Format 3 names the same figures in a few other ways."""
    accuracies = {key: report[key] and {"accuracy": report[key]} for key in ("clean", "victims_clean")}
    return {
        **report,
        **accuracies,
        "attacks": [_flat_average(attack) for attack in report["attacks"]],
        "transfer": report["transfer"] and _flat_average(report["transfer"]),
    }


def _flat_average(attack: dict[str, Any]) -> dict[str, Any]:
    average, asr = attack["average"], attack["average"]["asr"]
    ends = {key: asr[key] for key in ("low", "high", "n")}
    targeted = average["targeted"] and average["targeted"]["value"]
    flat = {"asr": asr["value"], "targeted": targeted, "dissimilarity": average["dissimilarity"], **ends}
    return {**attack, "average": flat}


def _by_target(attack: dict[str, Any]) -> dict[str, Any]:
    targets = {str(row["target"]): row for row in attack["per_target"]}
    return {**{key: value for key, value in attack.items() if key != "per_target"}, "target": targets}


def _put(found: dict[str, Any], name: str, value: Any) -> None:
    """A value, or all that it holds, under names with slashes."""
    if isinstance(value, dict) and value:
        for key, part in value.items():
            _put(found, f"{name}/{key}", part)
    elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
        for number, part in enumerate(value):
            _put(found, f"{name}/{number}", part)
    else:
        found[name] = value


def _less(part: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key not in LEFT_OUT}
