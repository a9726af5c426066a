"""Feature denoising: the operations against direct formulas, the block, and where it goes in nets."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from blurnet.layers.denoise import FeatureDenoise, denoise_places, denoise_resnet
from blurnet.layers.denoise_ops import bilateral, local_mean, local_median, non_local_dot, non_local_gaussian
from blurnet.layers.insert import insert_after
from blurnet.nets.lisa_cnn import LisaCNN
from blurnet.nets.vision import torchvision_net

OPERATIONS = ["gaussian", "dot", "bilateral-gaussian", "bilateral-dot", "mean", "median", "none"]
SIZES = [(3, 8, 5, 6), (6, 6, 7, 4), (8, 40, 3, 4)]  # D, C, H, W: fewer and more channels than positions


def problem(d: int, c: int, h: int, w: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, n, h, w, generator=generator, dtype=torch.float64) for n in (d, d, c))


def scores(query: Tensor, key: Tensor) -> Tensor:
    """q_i . k_j for all pairs of positions, (N, HW, HW)."""
    return torch.einsum("ndi,ndj->nij", query.flatten(2), key.flatten(2))


def weighted(weights: Tensor, value: Tensor) -> Tensor:
    return torch.einsum("nij,ncj->nci", weights, value.flatten(2)).view_as(value)


def near(h: int, w: int, k: int) -> Tensor:
    """Which positions lie in the window around which, (HW, HW)."""
    y, x = (t.flatten() for t in torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"))
    return ((y[:, None] - y).abs() <= k // 2) & ((x[:, None] - x).abs() <= k // 2)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["default", "channels-last"])
def test_non_local_operations_equal_the_formulas(size, layout):
    query, key, value = (t.contiguous(memory_format=layout) for t in problem(*size))
    weights = (scores(query, key) / size[0] ** 0.5).softmax(dim=-1)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, size[2] * size[3], dtype=torch.float64))
    torch.testing.assert_close(non_local_gaussian(query, key, value), weighted(weights, value))
    dot = scores(query, key) / (size[2] * size[3])
    torch.testing.assert_close(non_local_dot(query, key, value), weighted(dot, value))


@pytest.mark.parametrize("k", [1, 3, 5])
def test_bilateral_equals_the_non_local_formula_inside_windows(k):
    query, key, value = problem(3, 8, 5, 6)
    window = near(5, 6, k)
    weights = (scores(query, key) / 3**0.5).masked_fill(~window, float("-inf")).softmax(dim=-1)
    torch.testing.assert_close(bilateral(query, key, value, k), weighted(weights, value))
    dot = (scores(query, key) * window) / window.sum(dim=-1, keepdim=True)
    torch.testing.assert_close(bilateral(query, key, value, k, softmax=False), weighted(dot, value))


def test_a_window_over_everything_is_non_local():
    maps = problem(3, 8, 5, 6)
    torch.testing.assert_close(bilateral(*maps, 11), non_local_gaussian(*maps))
    torch.testing.assert_close(bilateral(*maps, 11, softmax=False), non_local_dot(*maps))


def test_weights_sum_to_one():
    query, key, _ = problem(3, 8, 5, 6)
    ones = torch.ones(2, 8, 5, 6, dtype=torch.float64)
    for mean in (non_local_gaussian(query, key, ones), bilateral(query, key, ones), local_mean(ones)):
        torch.testing.assert_close(mean, ones)


def test_dot_divides_by_the_number_of_positions():
    ones = torch.ones(1, 4, 5, 6)
    torch.testing.assert_close(non_local_dot(ones, ones, ones), torch.full_like(ones, 4))
    torch.testing.assert_close(bilateral(ones, ones, ones, softmax=False), torch.full_like(ones, 4))


@pytest.mark.parametrize("operation", [non_local_gaussian, non_local_dot])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_non_local_operations_do_not_see_the_order_of_positions(operation, size):
    maps = problem(*size)
    order = torch.randperm(size[2] * size[3], generator=torch.Generator().manual_seed(1))
    shuffled = [t.flatten(2)[..., order].view_as(t) for t in maps]
    torch.testing.assert_close(operation(*shuffled).flatten(2), operation(*maps).flatten(2)[..., order])


def test_scales_of_the_operations():
    query, key, value = problem(3, 8, 5, 6)
    torch.testing.assert_close(non_local_gaussian(query, key, 3 * value), 3 * non_local_gaussian(query, key, value))
    torch.testing.assert_close(non_local_dot(2 * query, key, 3 * value), 6 * non_local_dot(query, key, value))
    torch.testing.assert_close(non_local_gaussian(4 * query, key, value), non_local_gaussian(query, 4 * key, value))


def test_mean_and_median_equal_loops():
    x = problem(3, 2, 5, 6)[2]
    repeated = F.pad(x, (1, 1, 1, 1), mode="replicate")
    for i in range(5):
        for j in range(6):
            window = x[..., max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].flatten(2)
            torch.testing.assert_close(local_mean(x)[..., i, j], window.mean(dim=-1))
            window = repeated[..., i : i + 3, j : j + 3].flatten(2)
            assert torch.equal(local_median(x)[..., i, j], window.median(dim=-1).values)


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
