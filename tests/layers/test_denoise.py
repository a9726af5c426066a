"""Feature denoising: the block, and where it goes in nets."""

import pytest
import torch
import torchvision
from torch import Tensor, nn

from blurnet.layers.denoise import FeatureDenoise, denoise_places, denoise_resnet
from blurnet.layers.insert import insert_after
from blurnet.nets.lisa_cnn import LisaCNN
from blurnet.nets.vision import torchvision_net
from tests.layers.maps import problem

OPERATIONS = ["gaussian", "dot", "bilateral-gaussian", "bilateral-dot", "mean", "median", "none"]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("training", [True, False])
def test_identity_at_insertion_bit_for_bit(operation, training):
    layer = FeatureDenoise(6, operation).train(training)
    x = torch.randn(3, 6, 7, 5, generator=torch.Generator().manual_seed(0)) * 10
    assert torch.equal(layer(x), x)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_gradients_through_inputs_and_weights(operation):
    layer = FeatureDenoise(4, operation).double().eval()
    with torch.no_grad():
        for p in layer.parameters():
            p.normal_(generator=torch.Generator().manual_seed(1))
    x = problem(3, 4, 4, 3)[2].requires_grad_()
    names = [name for name, _ in layer.named_parameters()]

    def call(x: Tensor, *weights: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), (x,))

    weights = [p.detach().requires_grad_() for p in layer.parameters()]
    assert torch.autograd.gradcheck(call, (x, *weights))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_bfloat16_autocast(operation):
    layer = FeatureDenoise(6, operation)
    x = problem(3, 6, 5, 6)[2].float()
    with torch.autocast("cpu", torch.bfloat16):
        half = layer.denoise(x)
        assert torch.equal(layer(x), x)
    torch.testing.assert_close(half.float(), layer.denoise(x), atol=0.1, rtol=0.05)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_exports(operation):
    net = insert_after(LisaCNN(), "relu1", FeatureDenoise(64, operation)).eval()
    nn.init.ones_(net.relu1.FeatureDenoise.norm.weight)
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    batch = {0: torch.export.Dim("batch")}
    exported = torch.export.export(net, (images[:2],), dynamic_shapes=(batch,)).module()
    torch.testing.assert_close(exported(images), net(images))


def test_embedding_has_half_the_channels():
    layer = FeatureDenoise(6)
    assert layer.theta.weight.shape == layer.phi.weight.shape == (3, 6, 1, 1)
    assert [p.shape for p in FeatureDenoise(1).theta.parameters()] == [(1, 1, 1, 1)]
    names = {name.split(".")[0] for name, _ in FeatureDenoise(6, embed=False).named_parameters()}
    assert names == {name.split(".")[0] for name, _ in FeatureDenoise(6, "mean").named_parameters()} == {"conv", "norm"}


@pytest.mark.parametrize(
    ("name", "last", "channels"),
    [
        ("resnet18", ["layer1.1", "layer2.1", "layer3.1", "layer4.1"], [64, 128, 256, 512]),
        ("resnet152", ["layer1.2", "layer2.7", "layer3.35", "layer4.2"], [256, 512, 1024, 2048]),
        ("resnext101_32x8d", ["layer1.2", "layer2.3", "layer3.22", "layer4.2"], [256, 512, 1024, 2048]),
    ],
)
def test_places_in_resnets(name, last, channels):
    with torch.device("meta"):
        net = torchvision.models.get_model(name)
    assert denoise_places(net) == dict(zip(last, channels, strict=True))
    every = denoise_places(net, every=True)
    assert len(every) == sum(len(getattr(net, f"layer{i}")) for i in range(1, 5))
    assert {place: every[place] for place in last} == denoise_places(net)


@pytest.mark.parametrize("every", [False, True])
def test_resnet_is_unchanged_until_trained(every):
    net, images = torchvision_net("resnet18", 5).eval(), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = net(images)
        assert denoise_resnet(net, every, operation="dot", embed=False) is net
        assert torch.equal(net(images), before)
    blocks = [name for name, m in net.named_modules() if isinstance(m, FeatureDenoise)]
    assert len(blocks) == (8 if every else 4)
    assert blocks[-1] == "net.layer4.1.FeatureDenoise"
    with pytest.raises(ValueError, match="already inserted"):
        denoise_resnet(net, every)


@pytest.mark.parametrize(("every", "places"), [(False, 2), (True, 3)])
def test_lisa_cnn(every, places):
    net = LisaCNN()
    images = torch.rand(4, 3, 32, 32)
    before = net(images)
    assert torch.equal(denoise_resnet(net, every)(images), before)
    assert [m.channels for m in net.modules() if isinstance(m, FeatureDenoise)] == [64, 128, 128][:places]


def test_bad_arguments_raise():
    with pytest.raises(ValueError, match=r"operation: expected one of .*'gaussian'.* got 'softmax'"):
        FeatureDenoise(3, "softmax")
    with pytest.raises(ValueError, match="positive odd integer, got 4"):
        FeatureDenoise(3, "mean", kernel_size=4)
    with pytest.raises(ValueError, match="channels: expected from 1, got 0"):
        FeatureDenoise(0)
    with pytest.raises(ValueError, match="Linear: expected a net with layer1 to layer4"):
        denoise_resnet(nn.Linear(2, 2))
