"""The residual net for 32 pixels: sizes, gray in, dropout."""

import torch

from blurnet.nets.resnet_32 import ResNet32
from blurnet.nets.vision import count_parameters
from tests.nets.pictures import X


def test_sizes():
    net, sizes = ResNet32(), []
    for block in (net.stem, net.block1, net.block2, net.block3, net.block4):
        block.register_forward_hook(lambda _m, _i, out: sizes.append(tuple(out.shape[1:])))
    assert net(X).shape == (2, 18)
    assert sizes == [(32, 16, 16), (32, 16, 16), (64, 8, 8), (128, 4, 4), (128, 4, 4)]
    assert count_parameters(net) == 605_394
    assert ResNet32(5, width=8)(X).shape == (2, 5)


def test_blocks_are_residual():
    net = ResNet32().eval()
    for block in (net.block1, net.block4):
        torch.nn.init.zeros_(block.norm2.weight)  # what the two convolutions add is then nothing
    maps = torch.rand(2, 32, 16, 16)
    assert torch.equal(net.block1(maps), maps)
    assert torch.equal(net.block4(maps := torch.rand(2, 128, 4, 4)), maps)


def test_what_a_mask_fills_is_zero_to_the_stem():
    net, maps = ResNet32().eval(), []
    net.stem.register_forward_hook(lambda _m, _i, out: maps.append(out))
    net(torch.full_like(X, 0.5))
    net(X)
    assert (maps[0] == 0).all()
    assert (maps[1] != 0).any()


def test_dropout_works_in_training_only():
    net = ResNet32(dropout=0.5).train()
    assert not torch.equal(net(X), net(X))
    net.eval()
    assert torch.equal(net(X), net(X))
