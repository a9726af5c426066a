"""Specs: JSON round trips, strictness, and the parser of the command line."""

import json

import pytest
from jsonargparse import auto_cli

from blurnet.zoo.spec import DefenseSpec, ModelSpec

SPEC = ModelSpec(
    net="lisa_cnn",
    classes=["stop", "yield"],
    defenses=[DefenseSpec("learned_low_pass", after="relu1", args={"kernel_size": 7, "linf": 0.1})],
)


def test_round_trip():
    assert ModelSpec.from_json(SPEC.to_json()) == SPEC
    assert ModelSpec.from_dict(SPEC.to_dict()) == SPEC
    assert ModelSpec.from_json(ModelSpec().to_json()) == ModelSpec()


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"nett": "x"}, ValueError, "'net', 'classes', 'defenses', 'net_args'"),
        ({"classes": "stop"}, TypeError, "classes: expected a list, got 'stop'"),
        ({"classes": [1, 2]}, TypeError, r"classes\[0\]: expected str, got 1"),
        ({"classes": ["a", "a"]}, ValueError, "repeat"),
        ({"net_args": []}, TypeError, "net_args: expected an object"),
        ({"image_size": 32}, TypeError, "image_size: expected a list"),
        ({"image_size": [32]}, TypeError, "expected 2 values"),
        ({"image_size": [32, 0]}, ValueError, r"expected \(height, width\) in pixels, got \(32, 0\)"),
        ({"fit": "squeeze"}, TypeError, r"fit: expected one of \['stretch', 'crop'\]"),
        ({"format": 2}, ValueError, '"format": 1, got 2'),
        ({"defenses": [{"nam": "x"}]}, ValueError, "'name', 'after', 'before', 'args'"),
        ({"defenses": [{}]}, ValueError, r"missing \['name'\]"),
        ({"defenses": [{"name": "x", "after": "a", "before": "b"}]}, ValueError, "not both"),
        ({"defenses": [{"name": "x", "after": ""}]}, ValueError, "empty name"),
    ],
)
def test_bad_data_is_refused(change, error, says):
    with pytest.raises(error, match=says):
        ModelSpec.from_dict({**SPEC.to_dict(), **change})


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1, "net": NaN}', '{"format": 1, "format": 1}'])
def test_bad_text_is_refused(text):
    with pytest.raises(ValueError, match="spec"):
        ModelSpec.from_json(text)


def test_an_earlier_version_states_no_size():
    plain = {key: value for key, value in SPEC.to_dict().items() if key not in ("image_size", "fit")}
    assert ModelSpec.from_dict(plain) == SPEC
    sized = SPEC.with_images((48, 64), "crop")
    assert ModelSpec.from_json(sized.to_json()) == sized


def test_arguments_must_fit_in_a_file():
    with pytest.raises(TypeError, match="expected a number"):
        DefenseSpec("lgs", args={"window": object()})
    with pytest.raises(TypeError, match="keys are strings"):
        ModelSpec(net_args={"a": {1: 2}})


def test_classes_come_from_the_data_once():
    empty = ModelSpec()
    assert empty.with_classes(("a", "b")).classes == ["a", "b"]
    assert SPEC.with_classes(SPEC.classes) == SPEC
    with pytest.raises(ValueError, match="the data has"):
        SPEC.with_classes(["a"])


def test_the_command_line_parses_a_spec():
    def parsed(spec: ModelSpec) -> ModelSpec:
        return spec

    plain = {key: value for key, value in SPEC.to_dict().items() if key != "format"}
    assert auto_cli(parsed, args=[f"--spec={json.dumps(plain)}"]) == SPEC
