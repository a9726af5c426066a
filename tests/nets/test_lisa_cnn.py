"""The LISA-CNN: sizes, dropout, the authors' weights."""

import pytest
import torch

from blurnet.nets.lisa_cnn import LisaCNN
from blurnet.nets.vision import count_parameters
from tests.nets.pictures import X


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
