"""Defenses in words, for titles, cards and reports."""

from collections.abc import Mapping, Sequence

from blurnet.zoo.spec import DefenseSpec


def describe_defenses(defenses: Sequence[DefenseSpec]) -> str:
    """Such as "lgs(smoothing=2.3) in front; total_variation(alpha=0.0001) after relu1"; "none" where there are none."""
    return "; ".join(phrases(defenses)) or "none"


def phrases(defenses: Sequence[DefenseSpec]) -> list[str]:
    """A phrase for each defense, in their order; a block that stands in many places is told once."""
    alike: dict[str, list[DefenseSpec]] = {}
    for defense in defenses:
        same = {name: value for name, value in defense.args.items() if name != "channels"}
        alike.setdefault(call(defense.name, same), []).append(defense)
    return [_phrase(same[0]) if len(same) == 1 else f"{text} at {len(same)} places" for text, same in alike.items()]


def call(name: str, args: Mapping[str, object]) -> str:
    """A name with its arguments, "jpeg(quality=30)"; the name alone where there are none."""
    listed = ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in args.items())
    return f"{name}({listed})" if listed else name


def _phrase(defense: DefenseSpec) -> str:
    place = f"after {defense.after}" if defense.after else f"before {defense.before}" if defense.before else "in front"
    return f"{call(defense.name, defense.args)} {place}"
