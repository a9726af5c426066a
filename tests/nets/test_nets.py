"""The nets: sizes, the authors' weights, library nets behind one convention."""

import sys

import pytest
import torch

from blurnet.nets.gtsrb_cnn import GtsrbCNN
from blurnet.nets.lisa_cnn import LisaCNN
from blurnet.nets.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize
from blurnet.nets.vision import count_parameters, timm_net, torchvision_net

X = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("classes", "parameters"), [(18, 726_354), (16, 725_328)])
def test_lisa_cnn_size(classes, parameters):
    net = LisaCNN(classes)
    assert count_parameters(net) == parameters
    assert net(X).shape == (2, classes)


def test_lisa_cnn_maps():
    net, sizes = LisaCNN(), []
    for layer in (net.relu1, net.relu2, net.relu3):
        layer.register_forward_hook(lambda _m, _i, out: sizes.append(tuple(out.shape[1:])))
    net(X)
    assert sizes == [(64, 16, 16), (128, 6, 6), (128, 2, 2)]


def test_dropout_works_in_training_only():
    net = LisaCNN(input_dropout=0.2, dropout=0.5)
    assert not torch.equal(net(X), net(X))
    net.eval()
    assert torch.equal(net(X), net(X))
    assert list(net.state_dict()) == list(LisaCNN().state_dict())


def test_authors_weights_call_every_victim_stop(authors_net, victims):
    assert len(victims) == 40
    assert (authors_net(victims).argmax(1) == 14).all()


def test_gtsrb_cnn():
    net, widths = GtsrbCNN(), []
    net.head.register_forward_pre_hook(lambda _m, args: widths.append(args[0].shape[1]))
    assert net(X).shape == (2, 43)
    assert widths == [14_336]
    assert GtsrbCNN(5, dropout=0)(X).shape == (2, 5)


def test_normalize():
    layer = Normalize()
    mean, std = torch.tensor(IMAGENET_MEAN).view(3, 1, 1), torch.tensor(IMAGENET_STD).view(3, 1, 1)
    torch.testing.assert_close(layer(X), (X - mean) / std)
    torch.testing.assert_close(layer(mean.expand(1, 3, 4, 4)), torch.zeros(1, 3, 4, 4))
    assert layer.state_dict() == {}
    assert layer.double()(X.double()).dtype == torch.float64


@pytest.mark.parametrize("arguments", [((0.5,), (0.5, 0.5)), ((), ()), ((0.5,), (0.0,)), ((0.5,), (-1.0,))], ids=str)
def test_normalize_refuses(arguments):
    with pytest.raises(ValueError, match="as many positive deviations as means"):
        Normalize(*arguments)


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
