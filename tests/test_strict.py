"""Plain values to annotated types."""

from typing import Any, Literal

import pytest

from blurnet.strict import check_arguments, coerce, from_dict
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
