"""What follows from one dataclass: the signature, the check, the attributes and the text."""

import copy
import inspect
import pickle
import typing
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from blurnet.bounds import NotNegative, Odd
from blurnet.settings import Settings, WithSettings, takes


@dataclass(frozen=True)
class BlurSettings(Settings):
    size: Odd = 3
    strength: NotNegative | Tensor = 0.5
    _: KW_ONLY
    mode: Literal["soft", "hard"] = "soft"
    limit: NotNegative | None = field(default=None, metadata={"format": ".2f"})
    seed: int = field(default=0, repr=False)


@takes(BlurSettings)
def blur(x: Tensor, settings: BlurSettings) -> Tensor:
    """Documented."""
    return x * settings.size + settings.strength


@takes(BlurSettings)
def blur_inside(x: Tensor, mask: Tensor, settings: BlurSettings) -> Tensor:
    return torch.where(mask > 0, blur(x, settings), x)


class Blur(WithSettings, nn.Module):
    strength: Any

    @takes(BlurSettings)
    def __init__(self, settings: BlurSettings) -> None:
        super().__init__()
        self.settings = settings
        self.strength = nn.Parameter(torch.tensor(settings.strength))

    def forward(self, x: Tensor) -> Tensor:
        return blur(x, self.settings)


@dataclass(frozen=True)
class MoreSettings(BlurSettings, owner="Blur"):
    more: bool = False


class More(Blur):
    @takes(MoreSettings)
    def __init__(self, settings: MoreSettings) -> None:
        super().__init__(settings)


X = torch.tensor([1.0, 2.0])


def test_arguments_one_by_one_or_ready():
    for value in (blur(X, 5, 1), blur(X, strength=1, size=5), blur(x=X, size=5, strength=1)):
        assert torch.equal(value, X * 5 + 1)
    assert torch.equal(blur(X, BlurSettings(5, 1)), X * 5 + 1)
    mask = torch.tensor([1, 0])
    for value in (blur_inside(X, mask, 5), blur_inside(X, size=5, mask=mask)):
        assert value.tolist() == [5.5, 2.0]
    assert torch.equal(blur(X, MoreSettings(5, 1)), X * 5 + 1)
    assert torch.equal(Blur(BlurSettings(5))(X), Blur(5)(X))


def test_the_signature_is_that_of_the_fields():
    for function, first in ((blur, ["x"]), (blur_inside, ["x", "mask"]), (Blur, []), (Blur.__init__, ["self"])):
        parameters = inspect.signature(function).parameters
        assert list(parameters) == [*first, "size", "strength", "mode", "limit", "seed"]
        assert parameters["size"].default == 3
        assert parameters["size"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert parameters["mode"].kind is inspect.Parameter.KEYWORD_ONLY
    assert typing.get_type_hints(blur)["size"] is int
    assert typing.get_type_hints(Blur.__init__)["mode"] == Literal["soft", "hard"]
    assert set(inspect.signature(More).parameters) - set(inspect.signature(Blur).parameters) == {"more"}
    assert (blur.__name__, blur.__doc__) == ("blur", "Documented.")


@pytest.mark.parametrize("make", [lambda **settings: blur(X, **settings), Blur], ids=["function", "module"])
def test_settings_are_checked(make):
    with pytest.raises(ValueError, match="Blur size: expected a positive odd integer, got 4"):
        make(size=4)
    with pytest.raises(TypeError, match=r"Blur size: expected int, got 3\.0"):
        make(size=3.0)
    with pytest.raises(ValueError, match=r"Blur mode: expected one of \['soft', 'hard'\], got 'open'"):
        make(mode="open")
    with pytest.raises(TypeError, match="unexpected keyword argument 'sizes'"):
        make(sizes=3)


def test_what_is_missing_or_too_much_is_said_by_python():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        blur(size=3)
    with pytest.raises(TypeError, match="positional arguments"):
        Blur(3, 0.5, "hard")


def test_attributes_and_text():
    layer = Blur(5, 1 / 3, limit=0.125, seed=4)
    assert (layer.size, layer.mode, layer.limit, layer.seed) == (5, "soft", 0.125, 4)
    assert repr(layer) == "Blur(size=5, strength=0.333333, mode='soft', limit=0.12)"
    with torch.no_grad():
        layer.strength.fill_(0.25)
    assert "strength=0.25, mode='soft', limit=0.12" in repr(layer)
    assert layer.shown("strength", "limit", "mode") == "size=5"
    assert repr(Blur()) == "Blur(size=3, strength=0.5, mode='soft', limit=None)"
    with pytest.raises(AttributeError, match=r"Blur size: fixed when it was made, 7 comes too late"):
        layer.size = 7


def test_a_subclass_adds_settings():
    with pytest.raises(ValueError, match="Blur size"):
        More(4)
    layer = More(5, more=True)
    assert (layer.size, layer.more, layer.settings) == (5, True, MoreSettings(5, more=True))
    assert repr(layer).endswith("more=True)")


def test_copies_and_pickles():
    layer = Blur(5)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert other.settings == layer.settings
        assert torch.equal(other(X), layer(X))
    assert list(layer.state_dict()) == ["strength"]


@pytest.mark.filterwarnings("ignore")  # dynamo's own warnings differ by version
def test_compiled():
    torch.compiler.reset()
    for function in (Blur(5), lambda x: blur(x, 5, mode="hard")):
        compiled = torch.compile(function, backend="eager", fullgraph=True)
        assert torch.equal(compiled(X), function(X))
