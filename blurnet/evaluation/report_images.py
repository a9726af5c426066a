"""The part of the report on attacks image by image: worst case, each attack, stages, curves, places; and its lines."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from blurnet.evaluation.per_image import Outcome, PerImage
from blurnet.evaluation.worst_case import (
    by_threat,
    curves,
    location_map,
    main_outcomes,
    rate,
    robust,
    stage_counts,
    stage_name,
    wrong_before,
)
from blurnet.rates import Rate


def images_part(module: PerImage, outcomes: tuple[Outcome, ...]) -> dict[str, Any]:
    """``report["per_image"]``, plain data; rates in percent."""
    main, pool = main_outcomes(outcomes), module.pool
    wrong = wrong_before(main)
    return {
        "on": {"name": pool.name, "n": len(pool), "of": len(pool.dataset), "size": list(pool.size())},
        "clean": rate(~wrong).as_dict(),
        "wrong_before": int(wrong.sum()),
        "robust": rate(robust(main)).as_dict(),
        "by_threat": [
            {
                "threat": text,
                "attacks": [outcome.campaign.name for outcome in group],
                "robust": rate(robust(group)).as_dict(),
            }
            for text, group in by_threat(outcomes)
        ],
        "attacks": [_attack(outcome) for outcome in main],
        "curves": [
            {
                "attack": curve.attack,
                "axis": curve.axis,
                "points": [{"value": value, "robust": found.as_dict()} for value, found in curve.points],
            }
            for curve in curves(outcomes)
        ],
        "places": location_map(outcomes, pool.size()),
        "shard": pool.shard,
    }


def image_rows(outcomes: tuple[Outcome, ...]) -> Iterator[dict[str, Any]]:
    """One line for each campaign and image, with the keys of RP2's lines where they mean the same."""
    for outcome in outcomes:
        name, work = outcome.campaign.name, outcome.work
        for i in range(len(work.label)):
            box = work.box[i].tolist()
            yield {
                "attack": name,
                "index": int(work.item[i]),
                "label": int(work.label[i]),
                "clean_prediction": int(work.clean_prediction[i]),
                "prediction": int(work.prediction[i]),
                "confidence": round(float(work.confidence[i]), 6),
                "margin": round(float(work.margin[i]), 6),
                "robust": bool(work.robust[i]),
                "stage": stage_name(outcome, i),
                "calls": int(work.calls[i]),
                "box": None if min(box) < 0 else box,
                "linf": round(float(work.linf[i]), 6),
                "l2": round(float(work.l2[i]), 6),
                "l0": int(work.l0[i]),
            }


def campaign_header(outcomes: tuple[Outcome, ...]) -> list[dict[str, Any]]:
    """What the first line of samples.jsonl says about each campaign."""
    return [
        {
            "name": o.campaign.name,
            "repr": repr(o.campaign.attack),
            "seed": getattr(o.campaign.attack, "seed", None),
            "threat": o.campaign.threat.text,
            "curve": o.campaign.point is not None,
        }
        for o in outcomes
    ]


def images_markdown(part: dict[str, Any]) -> list[str]:
    """Its lines in summary.md."""
    on = part["on"]
    lines = [
        "## Image by image",
        "",
        f"**Robust accuracy, the worst case of each image over {_several(len(part['attacks']))}: "
        f"{percent(part['robust'])}**",
        "",
        f"- {on['n']} of {on['of']} images of {on['name']}, {part['wrong_before']} of them answered wrongly before any "
        "attack; these count as broken",
        "",
        "| attack | may change | robust accuracy | broken of those answered rightly | model calls an image, median |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {attack['name']} | {attack['threat']} | {percent(attack['robust'])} | {_optional(attack['success'])} | "
        f"{attack['calls']['median']:,} |"
        for attack in part["attacks"]
    ]
    for attack in part["attacks"]:
        lines += ["", f"`{attack['repr']}`"]
        if len(attack["stages"]) > 3:
            lines += ["", "| stage | images |", "| --- | ---: |"]
            lines += [f"| {stage['name']} | {stage['n']} |" for stage in attack["stages"]]
    for curve in part["curves"]:
        lines += ["", f"### {curve['attack']}: robust accuracy over {curve['axis']}", ""]
        lines += [f"| {curve['axis']} | robust accuracy |", "| ---: | ---: |"]
        lines += [f"| {point['value']:g} | {percent(point['robust'])} |" for point in curve["points"]]
    return [*lines, ""]


def percent(found: dict[str, Any]) -> str:
    """A rate of a report with its interval and count."""
    return f"{found['value']:.2f} % [{found['low']:.1f}, {found['high']:.1f}], n = {found['n']}"


def _attack(outcome: Outcome) -> dict[str, Any]:
    campaign, work = outcome.campaign, outcome.work
    right = work.clean_prediction == work.label
    broken = right & ~work.robust
    return {
        "name": campaign.name,
        "repr": repr(campaign.attack),
        "seed": getattr(campaign.attack, "seed", None),
        "threat": campaign.threat.text,
        "robust": rate(work.robust).as_dict(),
        "success": Rate.of(int(broken.sum()), int(right.sum())).as_dict() if bool(right.any()) else None,
        "calls": {
            "median": int(work.calls[right].median()) if bool(right.any()) else 0,
            "most": int(work.calls.max()),
            "total": int(work.calls.sum()),
        },
        "distance": {
            "linf": _mean(work.linf[broken]),
            "l2": _mean(work.l2[broken]),
            "l0": _mean(work.l0[broken].double()),
        },
        "stages": [{"name": name, "n": count} for name, count in stage_counts(outcome)],
    }


def _mean(values: Tensor) -> float | None:
    return round(float(values.double().mean()), 6) if len(values) else None


def _optional(found: dict[str, Any] | None) -> str:
    return "-" if found is None else percent(found)


def _several(attacks: int) -> str:
    return "one attack" if attacks == 1 else f"{attacks} attacks"
