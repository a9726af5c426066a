"""Defenses as one writes them on a command line: "lgs,jpeg:quality=30"."""

from blurnet.strict import parse_call
from blurnet.zoo.build import DEFENSES
from blurnet.zoo.spec import DefenseSpec


def parse_defenses(text: str) -> list[DefenseSpec]:
    """Specs from names with commas, each with its arguments behind colons, in the order of their application.

    "lgs,jpeg:quality=30" are two in front of the net; "lgs:smoothing=1.5:padding=none" has two arguments;
    "fixed_low_pass:kernel_size=5:after=relu1" stands behind a layer. Numbers, true, false and null are read as
    such, everything else as text. Whether the arguments are good is checked when the defense is made.

    Args:
        text: as above; spaces around the commas do not count, and the empty text is no defense.

    Raises:
        ValueError: an unknown name (lists what exists), an empty part, an argument without "=", or one given twice.
    """
    return [_parse(part.strip()) for part in text.split(",")] if text.strip() else []


def _parse(part: str) -> DefenseSpec:
    name, settings = parse_call(part, "defense")
    if name not in DEFENSES:
        raise ValueError(f"unknown defense {name!r}; there are: {', '.join(sorted(DEFENSES))}")
    places = {key: str(settings.pop(key)) for key in ("after", "before") if key in settings}
    return DefenseSpec(name, places.get("after"), places.get("before"), {**settings})
