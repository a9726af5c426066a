"""Plain values to annotated types."""

import dataclasses
import json
from typing import Any, Literal

import pytest

from blurnet.rates import Rate
from blurnet.strict import JSON, NOT_STORED, check_arguments, coerce, from_dict, parse_json, plain
from blurnet.zoo.spec import DefenseSpec, ModelSpec


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, float, 1.0),
        (1, int | float, 1),
        (None, str | None, None),
        ([1, 2], tuple[float, float], (1.0, 2.0)),
        ([1, 2, 3], tuple[int, ...], (1, 2, 3)),
        ([], list[int], []),
        ({"a": [1]}, dict[str, Any], {"a": [1]}),
        ("l2", Literal["l1", "l2"], "l2"),
        (DefenseSpec("lgs"), DefenseSpec, DefenseSpec("lgs")),
    ],
)
def test_accepted(value, hint, expected):
    result = coerce(value, hint, "x")
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (True, int),
        (True, float),
        (1.0, int),
        ("1", int | None),
        ([1], tuple[int, int]),
        (True, Literal[1]),
        ([1], dict[str, int]),
        (None, int),
        ("lgs", DefenseSpec),
    ],
)
def test_refused(value, hint):
    with pytest.raises(TypeError, match="x"):
        coerce(value, hint, "x")


def test_arguments_follow_the_signature():
    def function(size: int, *, sigma: float = 1.0, **rest: Any) -> None: ...

    assert check_arguments(function, {"size": 3, "sigma": 2}, "f") == {"size": 3, "sigma": 2.0}
    with pytest.raises(ValueError, match=r"f: unknown \['other'\]; allowed are \['size', 'sigma'\]"):
        check_arguments(function, {"size": 3, "other": 2}, "f")
    with pytest.raises(ValueError, match=r"unknown \['size'\]; allowed are \['sigma'\]"):
        check_arguments(function, {"size": 3}, "f", given=("size",))


def test_keys_of_a_spec_are_listed():
    with pytest.raises(TypeError, match="expected an object with the keys"):
        from_dict(ModelSpec, [], "spec")
    with pytest.raises(TypeError, match="expected a number"):
        DefenseSpec("lgs", args={"a": [1, (2,)]})


@dataclasses.dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...]
    rate: Rate | None = None


@dataclasses.dataclass(frozen=True)
class Outer:
    inner: Inner
    rows: list[Inner]
    settings: dict[str, JSON]
    shown: object = dataclasses.field(default=None, compare=False, metadata=NOT_STORED)


def test_values_go_to_plain_data_and_back():
    value = Outer(Inner((1, 2)), [Inner((), Rate.of(1, 2))], {"a": [1, None, "b", {"c": 0.5}]}, shown=object())
    made = plain(value)
    assert made == {
        "inner": {"sizes": [1, 2], "rate": None},
        "rows": [{"sizes": [], "rate": Rate.of(1, 2).as_dict()}],
        "settings": {"a": [1, None, "b", {"c": 0.5}]},
    }
    assert from_dict(Outer, json.loads(json.dumps(made)), "x") == value
    with pytest.raises(ValueError, match=r"x: unknown \['shown'\]; allowed are \['inner', 'rows', 'settings'\]"):
        from_dict(Outer, made | {"shown": None}, "x")
    with pytest.raises(TypeError, match=r"x: expected an object with the keys \['inner', 'rows', 'settings'\]"):
        from_dict(Outer, [], "x")


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "[1e999]", '{"a": 1, "a": 1}', "[" * 100_000, "{"])
def test_what_is_not_json_is_refused(text):
    with pytest.raises(ValueError, match=r"^file: (not JSON|repeated keys|-?\w+ is not JSON)"):
        parse_json(text, "file")
    assert parse_json("[1.5, 1e3]", "file") == [1.5, 1000.0]
