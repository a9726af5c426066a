"""summary.md: a report for people."""

from collections.abc import Mapping
from typing import Any

from blurnet.evaluation.report_images import images_markdown, percent

SUCCESS = (
    "Attack success is any change of the predicted label; targeted success reaches the target. Intervals are exact "
    "binomial, 95 %. Dissimilarity is |x - x_adv|₂ / |x_adv|₂."
)


def markdown(report: dict[str, Any]) -> str:
    """The summary of a report, Markdown."""
    model, victims = report["model"], report["victims"]
    lines = [f"# Robustness of {model['name']}", ""]
    if report["clean"]:
        lines.append(f"- accuracy on {report['data']['name']}: {percent(report['clean']['accuracy'])}")
    if victims:
        accuracy = percent(report["victims_clean"]["accuracy"])
        lines.append(f"- accuracy on the victims ({victims['name']}, mask {victims['mask']}): {accuracy}")
    lines.append(f"- parameters: {model['parameters']:,}; weights sha256 `{model['sha256'][:16]}`")
    if report.get("defenses"):
        lines.append(f"- {report['defenses']['note']}")
    if report.get("adaptive"):
        lines.append(f"- {report['adaptive']['note']}")
    lines += ["", *_flag_lines(report)]
    if report.get("per_image"):
        lines += images_markdown(report["per_image"])
    attacks = [(f"{a['name']}, made on this model", a) for a in report["attacks"]]
    if report["transfer"]:
        transfer = report["transfer"]
        attacks.append((f"{transfer['name']}, transferred from {transfer['source']}", transfer))
    if attacks:
        lines += [SUCCESS, ""]
    for title, attack in attacks:
        lines += _attack_lines(title, attack)
    return "\n".join([*lines, "## Command", "", f"    {report['command']}", ""])


def _flag_lines(report: dict[str, Any]) -> list[str]:
    """What the sanity checks say, flags or not."""
    if not report["flags"]:
        said = sanity_note(report)
        return [said, ""] if said else []
    lines = ["## Flags", "", "Signs that the attacks were hindered rather than withstood:", ""]
    lines += [f"- **{f['name']}**: {f['cause']} To do: {f['cure']} Seen: {evidence(f)}." for f in report["flags"]]
    return [*lines, ""]


def sanity_note(report: Mapping[str, Any]) -> str:
    """One sentence on the sanity checks of a report without flags; empty for reports that know none."""
    if "sanity" not in report:
        return ""
    if report["sanity"] is None:
        return "The sanity checks were NOT run."
    if not any(row["images"] for row in report["sanity"]):
        return "The sanity checks had no image to look at: the model answers none of the first ones rightly."
    counts = ", ".join(f"{row['images']} images ({row['threat']})" for row in report["sanity"])
    return f"The sanity checks raised no flag on {counts}."


def evidence(flag: Mapping[str, Any]) -> str:
    """What a check saw, as text."""
    seen = flag["evidence"]
    text = ", ".join(f"{key.replace('_', ' ')} {_short(value)}" for key, value in seen.items())
    return f"{text} ({flag['threat']})" if flag.get("threat") else text


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _attack_lines(title: str, attack: dict[str, Any]) -> list[str]:
    average, worst = attack["average"], attack["worst"]
    targeted = "-" if average["targeted"] is None else f"{average['targeted']:.2f} %"
    pooled = percent({**average, "value": average["asr"]})
    lines = [
        f"## {title}",
        "",
        f"`{attack['repr']}`",
        "",
        "| target | attack success | targeted success | dissimilarity |",
        "| --- | ---: | ---: | ---: |",
        f"| **average** | {pooled} | {targeted} | {average['dissimilarity']:.3f} |",
        f"| **worst: {worst['name']}** | {percent(worst['asr'])} | | |",
    ]
    for row in attack["per_target"]:
        hit = percent(row["targeted"]) if row["targeted"] else "-"
        number = "" if row["target"] is None else f"{row['target']} "
        lines.append(f"| {number}{row['name']} | {percent(row['asr'])} | {hit} | {row['dissimilarity']:.3f} |")
    return [*lines, ""]
