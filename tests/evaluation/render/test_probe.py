import torch
from torch import nn

from blurnet.evaluation.render.probe import first_layer
from blurnet.layers.insert import insert_after, insert_before
from blurnet.layers.lowpass import FixedLowPass
from blurnet.layers.penalties import TotalVariation
from blurnet.nets.lisa_cnn import LisaCNN
from blurnet.zoo.build import build
from blurnet.zoo.spec import DefenseSpec, ModelSpec

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def lisa() -> LisaCNN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LisaCNN().eval()


def test_undefended_net_gives_its_first_convolution():
    net = lisa()
    layer = first_layer(net, IMAGES)
    assert (layer.name, layer.after) == ("conv1", None)
    assert torch.equal(layer.before, net.conv1(IMAGES))
    assert layer.seen is layer.before


def test_defense_behind_a_layer_gives_the_maps_around_it():
    net, plain = lisa(), lisa()
    maps = plain.relu1(plain.conv1(IMAGES))
    layer = first_layer(insert_after(net, "relu1", FixedLowPass(5)), IMAGES)
    assert torch.equal(layer.before, maps)
    assert torch.equal(layer.after, FixedLowPass(5)(maps))


def test_defense_before_a_layer_gives_the_maps_around_it():
    net, plain = lisa(), lisa()
    maps = plain.relu1(plain.conv1(IMAGES))
    layer = first_layer(insert_before(net, "conv2", FixedLowPass(3)), IMAGES)
    assert torch.equal(layer.before, maps)
    assert torch.equal(layer.after, FixedLowPass(3)(maps))


def test_defense_on_the_input_gives_maps_without_and_with_it():
    spec = ModelSpec(classes=[f"{i}" for i in range(18)], defenses=[DefenseSpec("fixed_low_pass")])
    net = build(spec).eval()
    layer = first_layer(net, IMAGES)
    assert torch.equal(layer.before, net.net.conv1(IMAGES))
    assert torch.equal(layer.after, net.net.conv1(FixedLowPass()(IMAGES)))


def test_penalty_changes_nothing():
    layer = first_layer(insert_after(lisa(), "relu1", TotalVariation(1e-4)), IMAGES)
    assert layer.after is None


def test_hooks_are_removed():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    first_layer(net, IMAGES)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
