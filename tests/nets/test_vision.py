"""Nets of libraries behind one convention."""

import sys

import pytest
import torch

from blurnet.nets.normalize import Normalize
from blurnet.nets.vision import timm_net, torchvision_net


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "googlenet"])
def test_torchvision_nets(name):
    net = torchvision_net(name, classes=7)
    assert list(dict(net.named_children())) == ["normalize", "net"]
    assert isinstance(net.normalize, Normalize)
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for mode in (True, False):  # GoogLeNet returns a tuple of logits while it trains
        assert net.train(mode)(x).shape == (2, 7)


def test_torchvision_refuses():
    with pytest.raises(ValueError, match=r"no 'resnet19'; there are: alexnet, .*resnet18"):
        torchvision_net("resnet19")
    with pytest.raises(ValueError, match="not both"):
        torchvision_net("resnet18", classes=5, weights="DEFAULT")
    with pytest.raises(ValueError, match="not both"):
        torchvision_net("resnet18", classes=5, weights="IMAGENET1K_V1")


def test_timm_nets():
    pytest.importorskip("timm")
    net = timm_net("mobilenetv2_100", classes=7, pad_type="same").eval()
    assert list(dict(net.named_children())) == ["normalize", "net"]
    assert net(torch.rand(2, 3, 64, 64)).shape == (2, 7)


def test_timm_refuses(monkeypatch):
    pytest.importorskip("timm")
    with pytest.raises(ValueError, match=r"no 'resnet_18'; near it: .*resnet18"):
        timm_net("resnet_18")
    with pytest.raises(ValueError, match="not both"):
        timm_net("resnet18", classes=5, weights="DEFAULT")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"blurnet\[timm\]"):
        timm_net("resnet18")
