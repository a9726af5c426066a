"""Insertion by name, in every classifier of torchvision."""

from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torch.overrides import TorchFunctionMode

from blurnet.layers.insert import Inserted, first_conv, insert_after, insert_before
from blurnet.layers.lowpass import FixedLowPass, LearnedLowPass
from blurnet.layers.penalties import TotalVariation
from blurnet.nets.lisa_cnn import LisaCNN

CLASSIFIERS = torchvision.models.list_models(module=torchvision.models)
FAST = [
    "alexnet",
    "densenet121",
    "googlenet",
    "mnasnet0_5",
    "regnet_x_400mf",
    "resnet18",
    "swin_t",
    "vgg11",
    "vit_b_16",
]
X = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class NoWeights(TorchFunctionMode):
    """Parameters without memory: the largest of these nets has 644 million."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        extra = {"device": "meta"} if func in (torch.empty, torch.zeros, torch.ones) else {}
        return func(*args, **(kwargs or {}) | extra)


def on_meta(name: str) -> nn.Module:
    extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with NoWeights():
        return torchvision.models.get_model(name, weights=None, **extra).to("meta").eval()


def run(net: nn.Module) -> torch.Tensor:
    side = int(getattr(net, "image_size", 224))
    with torch.no_grad(), torch.device("meta"):
        return net(torch.empty(1, 3, side, side))


def calls(net: nn.Module) -> list[str]:
    """Names of the modules in the order in which their forward starts."""
    names: list[str] = []
    hooks = [
        m.register_forward_pre_hook(lambda *_, name=n: names.append(name)) for n, m in net.named_modules(prefix="net")
    ]
    run(net)
    for hook in hooks:
        hook.remove()
    return [name.removeprefix("net").removeprefix(".") for name in names]


def check_classifier(name: str) -> None:
    net = on_meta(name)
    modules = dict(net.named_modules())
    first = next(call for call in calls(net) if isinstance(modules[call], nn.Conv2d))
    assert first_conv(net) == first
    insert_before(net, first, FixedLowPass(3).to("meta"))
    after = calls(net)
    assert after.index(f"{first}.FixedLowPass") < after.index(f"{first}.base")
    net = on_meta(name)
    channels = modules[first].out_channels
    assert insert_after(net, first, LearnedLowPass(channels, 3).to("meta"), TotalVariation(1.0)) is net
    after = calls(net)
    place = after.index(first)
    wanted = [first, *(f"{first}.{child}" for child in ("base", "LearnedLowPass", "TotalVariation"))]
    assert after[place : place + 4] == wanted
    assert run(net).shape == (1, 1000)


@pytest.mark.parametrize("name", FAST)
def test_common_classifiers(name):
    check_classifier(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(CLASSIFIERS) - set(FAST)))
def test_every_classifier(name):
    check_classifier(name)


def test_insert_after_sees_and_replaces_the_output():
    plain = LisaCNN().eval()
    net = LisaCNN().eval()
    net.load_state_dict(plain.state_dict())
    assert insert_after(net, "relu1", FixedLowPass(5)) is net
    maps = FixedLowPass(5)(plain.relu1(plain.conv1(X)))
    wanted = plain.fc(plain.relu3(plain.conv3(plain.relu2(plain.conv2(maps)))).flatten(1))
    torch.testing.assert_close(net(X), wanted)


def test_insert_before_sees_the_input():
    net, plain = LisaCNN().eval(), LisaCNN().eval()
    net.load_state_dict(plain.state_dict())
    insert_before(net, "conv1", FixedLowPass(3))
    torch.testing.assert_close(net(X), plain(FixedLowPass(3)(X)))


def test_names_modes_and_state_dict():
    net = LisaCNN().eval()
    insert_after(net, "conv1", LearnedLowPass(64, 3), TotalVariation(1.0), TotalVariation(2.0))
    assert isinstance(net.conv1, Inserted)
    assert list(dict(net.conv1.named_children())) == ["base", "LearnedLowPass", "TotalVariation", "TotalVariation_2"]
    assert not any(m.training for m in net.modules())
    assert "conv1.base.weight" in net.state_dict()
    assert first_conv(net) == "conv1.base"
    other = insert_after(LisaCNN(), "conv1", LearnedLowPass(64, 3), TotalVariation(1.0), TotalVariation(2.0))
    other.load_state_dict(net.state_dict(), strict=True)
    assert all(m.training for m in other.modules())


def test_nested_names():
    net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Flatten())
    insert_after(net, "0.0", FixedLowPass(3))
    insert_after(net, "0", TotalVariation(1.0))
    assert net(X).shape == (2, 4 * 30 * 30)
    assert isinstance(net[0].base[0], Inserted)


@pytest.mark.parametrize("insert", [insert_after, insert_before])
def test_refusals_leave_the_net_as_it_was(insert):
    net = LisaCNN()
    before = list(net.state_dict())
    for layer in ("conv9", "", "conv1.weight"):
        with pytest.raises(KeyError, match=f"no layer '{layer}' in LisaCNN; it has: .*conv1, relu1, .*fc"):
            insert(net, layer, FixedLowPass(3))
    with pytest.raises(ValueError, match="no modules given to insert at 'conv1'"):
        insert(net, "conv1")
    assert list(net.state_dict()) == before


def test_a_second_insertion_at_the_same_place_is_refused():
    net = insert_after(LisaCNN(), "conv1", FixedLowPass(3))
    for insert in (insert_after, insert_before):
        for layer in ("conv1", "conv1.base", "conv1.FixedLowPass"):
            with pytest.raises(ValueError, match="were already inserted at 'conv1'; give all of them in one call"):
                insert(net, layer, TotalVariation(1.0))


def test_lists_are_refused():
    net = nn.Module()
    net.blocks = nn.ModuleList([nn.Conv2d(3, 3, 1)])
    net.named = nn.ModuleDict({"a": nn.ReLU()})
    for layer, kind in (("blocks", "ModuleList"), ("named", "ModuleDict")):
        with pytest.raises(ValueError, match=f"'{layer}' is a {kind}, which is never called"):
            insert_after(net, layer, FixedLowPass(3))
    insert_after(net, "blocks.0", FixedLowPass(3))
    assert isinstance(net.blocks[0], Inserted)


def test_a_net_without_convolution():
    with pytest.raises(ValueError, match=r"Linear has no nn\.Conv2d"):
        first_conv(nn.Linear(2, 2))
