"""Defenses as one writes them on a command line: "lgs,jpeg:quality=30"."""

import json
from typing import Any

from blurnet.zoo.build import DEFENSES
from blurnet.zoo.spec import DefenseSpec


def parse_defenses(text: str) -> list[DefenseSpec]:
    """Specs from names with commas, each with its arguments behind colons, in the order of their application.

    "lgs,jpeg:quality=30" are two in front of the net; "lgs:smoothing=1.5:padding=none" has two arguments;
    "fixed_low_pass:kernel_size=5:after=relu1" stands behind a layer. Numbers, true, false and null are read as
    such, everything else as text. What the arguments are worth is judged when the defense is made.

    Args:
        text: as above; spaces around the commas do not count, and the empty text is no defense.

    Raises:
        ValueError: an unknown name (lists what exists), an empty part, an argument without "=", or one given twice.
    """
    return [_parse(part.strip()) for part in text.split(",")] if text.strip() else []


def _parse(part: str) -> DefenseSpec:
    name, *settings = part.split(":")
    if name not in DEFENSES:
        raise ValueError(f"unknown defense {name!r}; there are: {', '.join(sorted(DEFENSES))}")
    args: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not (key and equals and value):
            raise ValueError(f"defense {part!r}: expected name:argument=value, got {setting!r}")
        if key in args:
            raise ValueError(f"defense {part!r}: {key!r} is given twice")
        args[key] = value if key in ("after", "before") else _value(value)
    after, before = args.pop("after", None), args.pop("before", None)
    return DefenseSpec(name, after=after, before=before, args=args)


def _value(text: str) -> Any:
    """A JSON number or constant as such, else the text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if value is None or isinstance(value, bool | int | float) else text
