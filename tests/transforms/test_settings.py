"""A new option of a transformation is one line: what else must know of it follows."""

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import torch
from torch import Tensor

from blurnet.bounds import between
from blurnet.settings import Settings, takes
from blurnet.transforms.base import Transform
from blurnet.zoo import build
from blurnet.zoo.build import make_transforms
from blurnet.zoo.parse import parse_defenses


@dataclass(frozen=True)
class ToySettings(Settings):
    strength: float = 0.5
    option: Annotated[int, between(1, 4)] = 1


@takes(ToySettings)
def toy(x: Tensor, settings: ToySettings) -> Tensor:
    return (x * settings.strength / settings.option).clamp(0, 1)


class Toy(Transform):
    """:func:`toy` as a module."""

    differentiable = True

    @takes(ToySettings)
    def __init__(self, settings: ToySettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, x: Tensor) -> Tensor:
        return toy(x, self.settings)


@pytest.fixture(autouse=True)
def tables(monkeypatch):
    monkeypatch.setitem(build.TRANSFORMS, "toy", Toy)
    monkeypatch.setitem(build.DEFENSES, "toy", Toy)


def test_the_option_is_in_both_signatures():
    assert list(inspect.signature(Toy).parameters) == ["strength", "option"]
    assert list(inspect.signature(toy).parameters) == ["x", "strength", "option"]


def test_the_option_comes_from_the_command_line(noise):
    (made,) = make_transforms(parse_defenses("toy:option=3"))
    assert made.option == 3
    assert repr(made) == "Toy(strength=0.5, option=3)"
    assert torch.equal(made(noise), toy(noise, option=3))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("toy:option=9", ValueError, r"Toy option: expected in \[1, 4\], got 9"),
        ("toy:option=high", TypeError, "defense 'toy': args: option: expected int, got 'high'"),
        ("toy:options=3", ValueError, r"unknown \['options'\]; allowed are \['strength', 'option'\]"),
    ],
)
def test_the_option_is_checked(text, error, message, noise):
    with pytest.raises(error, match=message):
        make_transforms(parse_defenses(text))


def test_the_function_checks_it_too(noise):
    with pytest.raises(ValueError, match="Toy option"):
        toy(noise, option=0)
