"""What a net says of the size of its images."""

import pytest
from torch import nn

from blurnet.nets.gtsrb_cnn import GtsrbCNN
from blurnet.nets.image_size import image_size
from blurnet.nets.lisa_cnn import LisaCNN
from blurnet.nets.normalize import Normalize
from blurnet.nets.resnet_32 import ResNet32
from blurnet.nets.vision import timm_net, torchvision_net
from blurnet.transforms.base import defend
from blurnet.transforms.lgs.lgs import LGS
from blurnet.zoo.build import build
from blurnet.zoo.card import Card
from blurnet.zoo.models import load_model, save_model
from blurnet.zoo.spec import DefenseSpec, ModelSpec


@pytest.mark.parametrize("net", [LisaCNN, GtsrbCNN, ResNet32])
def test_nets_of_this_package_state_it(net):
    assert image_size(net()) == (32, 32)
    assert image_size(nn.Sequential(Normalize(), net())) == (32, 32)
    assert image_size(defend(net(), LGS())) == (32, 32)


def test_library_nets_state_it():
    assert image_size(torchvision_net("resnet18", 2)) == (224, 224)
    pytest.importorskip("timm")
    assert image_size(timm_net("test_resnet", 2)) == (160, 160)
    assert image_size(timm_net("test_resnet", 2)[1]) == (160, 160), "timm's own net, without our wrapper"


def test_a_number_is_a_square_and_nothing_is_none():
    net = nn.Linear(2, 2)
    assert image_size(net) is None
    net.image_size = 48
    assert image_size(nn.Sequential(net)) == (48, 48)


def test_a_loaded_model_states_what_it_was_trained_on(tmp_path):
    spec = ModelSpec("torchvision/resnet18", ["a", "b"], [DefenseSpec("bit_depth")]).with_images((40, 48), "crop")
    net = load_model(save_model(build(spec), tmp_path / "net", spec=spec, card=Card("t", "d", "none", "data", 0, "c")))
    assert image_size(net) == net.image_size == (40, 48)
    assert image_size(defend(net, LGS())) == (40, 48)
