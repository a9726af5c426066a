"""Defenses from the command line to specs and modules."""

import pytest
import torch
from torch import nn

from blurnet.transforms.base import defend
from blurnet.transforms.lgs.lgs import LGS
from blurnet.zoo.build import TRANSFORMS, build, make_transforms
from blurnet.zoo.parse import parse_defenses
from blurnet.zoo.spec import DefenseSpec, ModelSpec


@pytest.mark.parametrize(
    ("text", "specs"),
    [
        ("", []),
        (" ", []),
        ("lgs", [DefenseSpec("lgs")]),
        ("lgs:smoothing=1.5:block=7", [DefenseSpec("lgs", args={"smoothing": 1.5, "block": 7})]),
        ("lgs:padding=none:block=null", [DefenseSpec("lgs", args={"padding": "none", "block": None})]),
        ("lgs:trainable=true", [DefenseSpec("lgs", args={"trainable": True})]),
        ("lgs, lgs:overlap=0", [DefenseSpec("lgs"), DefenseSpec("lgs", args={"overlap": 0})]),
        (
            "fixed_low_pass:after=layer1.0:kernel_size=5",
            [DefenseSpec("fixed_low_pass", after="layer1.0", args={"kernel_size": 5})],
        ),
        ("fixed_low_pass:before=1", [DefenseSpec("fixed_low_pass", before="1")]),
    ],
    ids=repr,
)
def test_texts_become_specs(text, specs):
    assert parse_defenses(text) == specs


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nothing", "unknown defense 'nothing'; there are: .*lgs"),
        ("lgs,", "unknown defense ''"),
        ("lgs:block", "expected name:argument=value, got 'block'"),
        ("lgs:=3", "got '=3'"),
        ("lgs:block=", "got 'block='"),
        ("lgs:block=3:block=4", "'block' is given twice"),
        ("fixed_low_pass:after=a:before=b", "not both"),
    ],
)
def test_what_makes_no_sense_is_refused(text, says):
    with pytest.raises(ValueError, match=says):
        parse_defenses(text)


def test_specs_become_transformations():
    first, second = make_transforms(parse_defenses("lgs,lgs:smoothing=1:stencil=sobel"))
    assert isinstance(first, LGS)
    assert (second.smoothing, second.stencil) == (1.0, "sobel")
    assert len(defend(nn.Identity(), first, second)) == 3


def test_only_transformations_stand_in_front_of_any_model():
    with pytest.raises(ValueError, match=r"'total_variation' is no input transformation but a layer, .*: .*lgs"):
        make_transforms(parse_defenses("total_variation"))
    with pytest.raises(ValueError, match="leave out after and before"):
        make_transforms(parse_defenses("lgs:after=relu1"))
    with pytest.raises(ValueError, match=r"unknown \['quality'\]"):
        make_transforms(parse_defenses("lgs:quality=3"))
    with pytest.raises(TypeError, match="block"):
        make_transforms(parse_defenses("lgs:block=large"))


#: What a net of two classes needs, and what keeps a test short.
SETTINGS = {"class_inpainting": ":classes=2", "dip": ":iterations=2"}


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_every_transformation_has_a_name_that_builds(name):
    spec = ModelSpec(classes=["a", "b"], defenses=parse_defenses(name + SETTINGS.get(name, "")))
    assert build(spec).eval()(torch.rand(1, 3, 32, 32)).shape == (1, 2)
    assert type(make_transforms(spec.defenses)[0]) is type(build(spec)[0])
