"""Class activation maps: against pytorch-grad-cam on five nets, by hand, and the net left as it was."""

import copy
import functools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import densenet121, mobilenet_v2, resnet18, vgg11

from blurnet.nets.gtsrb_cnn import GtsrbCNN
from blurnet.nets.lisa_cnn import LisaCNN
from blurnet.nets.vision import timm_net, torchvision_net
from blurnet.transforms.class_inpainting.cam import class_activation_maps, looking

CLASSES = [0, 4, 9]


def timm_mobilenet(num_classes: int) -> nn.Module:
    pytest.importorskip("timm")
    return timm_net("mobilenetv2_100", num_classes)


def vgg(num_classes: int) -> nn.Module:
    """As it is but for the 120 million weights of its head, whose draws take seconds."""
    net = vgg11(init_weights=False)
    net.classifier = nn.Sequential(nn.Linear(512 * 7 * 7, 32), nn.ReLU(True), nn.Linear(32, num_classes))
    return net


def lisa(num_classes: int) -> nn.Module:
    return LisaCNN(num_classes)


#: Constructor, the layer of the last maps for pytorch-grad-cam, side of the images, whether a linear layer follows.
NETS: dict[str, tuple[Callable[..., nn.Module], str, int, bool]] = {
    "resnet18": (resnet18, "layer4", 64, True),
    "mobilenet_v2": (mobilenet_v2, "features", 64, True),
    "vgg11": (vgg, "avgpool", 64, False),
    "timm mobilenetv2_100": (timm_mobilenet, "net.bn2", 64, True),
    "lisa_cnn": (lisa, "relu3", 32, False),
}


@functools.cache
def made(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return NETS[name][0](num_classes=10).eval()


def images(n: int, height: int, width: int | None = None) -> Tensor:
    return torch.rand(n, 3, height, width or height, generator=torch.Generator().manual_seed(1))


def peers_maps(net: nn.Module, layer: str, x: Tensor) -> Tensor:
    """What pytorch-grad-cam gives, (N, K, H, W); it goes through the net once a class."""
    pytorch_grad_cam = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with pytorch_grad_cam.GradCAM(net, [net.get_submodule(layer)]) as cam:
        maps = torch.stack([torch.from_numpy(cam(x, [ClassifierOutputTarget(c)] * len(x))) for c in CLASSES], 1)
    # It adds 1e-7 to a divisor, which counts where a random net's evidence is small: that is taken back.
    high = maps.amax((-2, -1), keepdim=True)
    assert (high > 0.9).sum() >= len(CLASSES)
    return maps / torch.where(high > 0, high, 1.0)


@pytest.mark.parametrize("name", NETS)
def test_equals_pytorch_grad_cam(name):
    _, layer, side, linear = NETS[name]
    net, x = made(name).double(), images(2, side, side + 32 if side > 32 else None).double()
    wanted = peers_maps(net, layer, x).double()
    for named in (None, layer):
        torch.testing.assert_close(class_activation_maps(net, x, CLASSES, named), wanted, rtol=0, atol=1e-5)
    with looking(net, x) as evidence:
        assert (evidence.weight is not None) == linear  # and then no gradient is taken


class Small(nn.Module):
    """Two convolutions, the mean, and a linear layer that can be told to begin with something else."""

    def __init__(self, head: nn.Module | None = None) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first = nn.Conv2d(3, 6, 3, stride=2, padding=1)
            self.second = nn.Conv2d(6, 8, 3, padding=1)
            self.norm = nn.BatchNorm2d(8)
            self.fc = nn.Linear(8, 5)
        self.head = head or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        maps = F.relu(self.norm(self.second(F.relu(self.first(x)))))
        return self.fc(self.head(F.adaptive_avg_pool2d(maps, 1).flatten(1)))


def stretched(maps: Tensor, size: tuple[int, int]) -> Tensor:
    maps = F.interpolate(maps.relu(), size, mode="bilinear")
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return torch.where(high > low, (maps - low) / (high - low).clamp(min=1e-12), 0.0)


def test_cam_by_its_formula():
    net, x = Small().eval(), images(3, 12, 16)
    with torch.no_grad():
        maps = F.relu(net.norm(net.second(F.relu(net.first(x)))))
        wanted = stretched(torch.einsum("kc,nchw->nkhw", net.fc.weight, maps), (12, 16))
    torch.testing.assert_close(class_activation_maps(net, x, range(5)), wanted, rtol=0, atol=1e-5)


def test_grad_cam_by_its_formula():
    """A nonlinear head: the mean gradient of each image's own logit weighs the maps."""
    net, x = Small(nn.Tanh()).eval(), images(3, 12, 16)
    classes = torch.tensor([[0, 1], [2, 3], [4, 0]])
    maps = F.relu(net.norm(net.second(F.relu(net.first(x))))).detach().requires_grad_()
    logits = net.fc(maps.mean((-2, -1)).tanh())
    wanted = torch.empty(3, 2, 6, 8)
    for i in range(3):
        for k in range(2):
            (gradient,) = torch.autograd.grad(logits[i, classes[i, k]], maps, retain_graph=True)
            wanted[i, k] = (gradient[i].mean((-2, -1))[:, None, None] * maps[i]).sum(0).detach()
    found = class_activation_maps(net, x, classes)
    torch.testing.assert_close(found, stretched(wanted, (12, 16)), rtol=0, atol=1e-5)


def test_functions_between_layers_count():
    """DenseNet's last ReLU is no layer: the maps behind it are found, on which CAM is exact."""
    with looking(densenet121(num_classes=10), images(1, 64)) as evidence:
        assert evidence.weight is not None
        assert evidence.maps.shape == (1, 1024, 2, 2)
        assert evidence.maps.min() == 0


@pytest.mark.parametrize(
    ("name", "maps"),
    [
        ("squeezenet1_1", (1, 10, 3, 3)),  # its maps are those of the classes
        ("convnext_tiny", (1, 768, 2, 2)),  # a norm between mean and linear layer
        ("mobilenet_v3_small", (1, 576, 2, 2)),  # squeeze and excitation pools maps on the way
        ("swin_v2_t", (1, 768, 2, 2)),
        ("googlenet", (1, 1024, 2, 2)),
    ],
)
def test_the_last_maps_are_found(name, maps):
    with looking(torchvision_net(name, 10), images(1, 64)) as evidence:
        assert evidence.maps.shape == maps
        assert evidence.logits.requires_grad


def test_maps_of_several_sizes_reach_the_head():
    """The multi-scale net: the stage that comes last counts, not the one that is flattened first."""
    with looking(GtsrbCNN(10), images(1, 32)) as evidence:
        assert evidence.maps.shape == (1, 128, 4, 4)


def test_maps_in_the_order_of_swin_transformers():
    pytest.importorskip("timm")
    net = timm_net("swin_tiny_patch4_window7_224", 10)
    with looking(net, images(1, 224)) as evidence:
        assert evidence.maps.shape == (1, 768, 7, 7)


def test_a_layer_by_name():
    net, x = Small().eval(), images(2, 12)
    assert not torch.allclose(class_activation_maps(net, x, [1], "first"), class_activation_maps(net, x, [1]))
    with torch.no_grad():
        first = net.first(x)
    with looking(net, x, "first") as evidence:
        assert torch.equal(evidence.maps, first)


def test_the_net_is_left_as_it_was():
    net, x = Small(), images(2, 12).requires_grad_()
    net.train()
    net.fc.eval()
    net.first.weight.requires_grad_(False)
    net.second.weight.grad = torch.ones_like(net.second.weight)
    before = copy.deepcopy(net.state_dict())
    for layer in (None, "second"):
        maps = class_activation_maps(net, x, [0, 1], layer)
        assert not maps.requires_grad
        assert torch.is_grad_enabled()
    assert [m.training for m in net.modules()] == [True, True, True, True, False, True]
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert x.grad is None
    assert [p.requires_grad for p in net.parameters()] == [False] + [True] * 7
    assert torch.equal(net.second.weight.grad, torch.ones_like(net.second.weight))
    assert all(p.grad is None for p in net.parameters() if p is not net.second.weight)
    assert not any(m._forward_hooks for m in net.modules())


def test_no_hook_is_left_behind_an_error():
    net = Small()
    with pytest.raises(ValueError, match="maps"):
        class_activation_maps(net, images(1, 12), [0], "fc")
    assert not any(m._forward_hooks for m in net.modules())
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("head", [None, nn.Tanh()], ids=["CAM", "Grad-CAM"])
def test_works_in_every_mode(head):
    net, x = Small(head), images(2, 12)
    wanted = class_activation_maps(net, x, [0, 1])
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert torch.equal(class_activation_maps(net, x.clone(), [0, 1]), wanted)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(class_activation_maps(net, x, [0, 1]), wanted)


@pytest.mark.parametrize("head", [None, nn.Tanh()], ids=["CAM", "Grad-CAM"])
def test_alone_equals_in_a_batch(head):
    net, x = Small(head), images(4, 12)
    alone = torch.cat([class_activation_maps(net, one[None], [0, 1]) for one in x])
    torch.testing.assert_close(class_activation_maps(net, x, [0, 1]), alone, rtol=0, atol=1e-5)


def test_maps_of_one_value_are_zero():
    x = images(1, 31, 33)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        net[0].weight.zero_()
    assert class_activation_maps(net, x, [0, 1]).abs().max() == 0
    assert class_activation_maps(net, x, [1]).shape == (1, 1, 31, 33)


@pytest.mark.parametrize("side", [(1, 1), (1, 9), (31, 33)], ids=str)
def test_images_of_any_size(side):
    assert class_activation_maps(Small(), images(2, *side), [0]).shape == (2, 1, *side)


class Scaled(nn.Module):
    """No feature maps: a linear layer of the normalised pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 8 * 8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc((x - 0.5).flatten(1))


def test_a_net_without_feature_maps_raises():
    with pytest.raises(ValueError, match=r"no feature maps.*layer="):
        class_activation_maps(Scaled(), images(1, 8), [0])
    with pytest.raises(ValueError, match="no feature maps"):
        class_activation_maps(torchvision_net("vit_b_32", 4), images(1, 224), [0])


def test_a_layer_that_does_not_reach_the_logits_raises():
    net = Small()
    net.add_module("apart", nn.Conv2d(3, 3, 1))
    with pytest.raises(ValueError, match="'apart'"):
        class_activation_maps(net, images(1, 12), [0], "apart")


def test_an_unknown_layer_lists_those_there_are():
    with pytest.raises(KeyError, match=r"layer5.*first, second"):
        class_activation_maps(Small(), images(1, 12), [0], "layer5")


@pytest.mark.parametrize(
    ("classes", "error", "message"),
    [
        ([5], ValueError, "below 5"),
        ([-1, 0], ValueError, "from 0"),
        ([], TypeError, "classes"),
        ([0.5], TypeError, "integers"),
        (torch.zeros(3, 2, dtype=torch.long), ValueError, r"\(2, K\)"),
    ],
)
def test_bad_classes_raise(classes, error, message):
    with pytest.raises(error, match=message):
        class_activation_maps(Small(), images(2, 12), classes)


def test_bad_images_raise():
    with pytest.raises(ValueError, match="images"):
        class_activation_maps(Small(), images(2, 12) * 255, [0])
