"""CIIDefence: the boxes follow the net's evidence, the parts are put together, both surrogates, and bad input."""

import copy

import pytest
import torch
from torch import Tensor, nn

from blurnet.nets.gtsrb_cnn import GtsrbCNN
from blurnet.nets.lisa_cnn import LisaCNN
from blurnet.transforms.base import Pipeline, adaptive, defend, identity_bpda
from blurnet.transforms.class_inpainting.class_inpainting import ClassInpainting
from blurnet.transforms.class_inpainting.fusion import inpaint_and_denoise
from blurnet.transforms.lgs.lgs import LGS
from blurnet.zoo.build import build
from blurnet.zoo.spec import DefenseSpec, ModelSpec

SETTINGS = {"classes": 2, "maxima": 1}


class Colours(nn.Module):
    """Class c has its evidence where channel c is bright: the maps are the image itself, block by block."""

    def __init__(self, block: int = 1) -> None:
        super().__init__()
        self.pick = nn.Conv2d(3, 3, block, stride=block, bias=False)
        self.fc = nn.Linear(3, 3, bias=False)
        with torch.no_grad():
            self.pick.weight.copy_(torch.eye(3)[..., None, None].expand_as(self.pick.weight) / block**2)
            self.fc.weight.copy_(torch.eye(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pick(x).mean((-2, -1)))


def dots(*places: tuple[int, int, int, float], size: tuple[int, int] = (24, 32)) -> Tensor:
    """A black image with single pixels: channel, row, column, value."""
    x = torch.zeros(1, 3, *size)
    for channel, row, column, value in places:
        x[0, channel, row, column] = value
    return x


def test_boxes_lie_on_the_evidence_of_the_likeliest_classes():
    x = dots((0, 5, 6, 0.9), (1, 15, 20, 0.8), (2, 10, 10, 0.1))
    boxes = ClassInpainting(Colours(), half_side=2, **SETTINGS).boxes(x)
    wanted = torch.zeros(1, 1, 24, 32)
    wanted[..., 3:8, 4:9] = 1
    wanted[..., 13:18, 18:23] = 1
    assert torch.equal(boxes, wanted)
    assert ClassInpainting(Colours(), classes=3, maxima=1, half_side=2).boxes(x)[..., 10, 10] == 1


def test_near_maxima_of_a_class_are_suppressed():
    x = dots((0, 5, 6, 0.9), (0, 5, 11, 0.8), (0, 5, 18, 0.7))
    boxes = {s: ClassInpainting(Colours(), 1, 2, 2, s).boxes(x)[0, 0, 5] for s in (4, None)}
    assert boxes[4].nonzero()[:, 0].tolist() == list(range(4, 14))
    assert boxes[None].nonzero()[:, 0].tolist() == [*range(4, 9), *range(16, 21)]  # 5 apart, where 2 w + 1 is 5


@pytest.mark.parametrize(("size", "half"), [((32, 40), 1), ((299, 300), 4), ((224, 500), 3), ((448, 448), 6)])
def test_boxes_grow_with_the_image(size, half):
    row, column = size[0] // 2, size[1] // 2
    boxes = ClassInpainting(Colours(), classes=1, maxima=1).boxes(dots((0, row, column, 0.9), size=size))
    assert boxes.sum() == (2 * half + 1) ** 2
    assert boxes[..., row - half, column + half] == 1


def test_it_is_the_function_of_its_boxes(noise):
    for settings in ({}, {"fusion": 0.8, "sigma": 0.1}):
        defense = ClassInpainting(Colours(2), **SETTINGS, **settings)
        wanted = inpaint_and_denoise(noise, defense.boxes(noise), **settings)
        assert torch.equal(defense(noise), wanted)
        assert 0 < defense.boxes(noise).mean() < 1


def test_a_dot_of_evidence_is_inpainted():
    """One bright pixel of a class disappears where fusion takes the inpainting alone."""
    x = torch.full((1, 3, 24, 32), 0.2)
    x[0, 1, 9, 9] = 1.0
    out = ClassInpainting(Colours(), classes=1, maxima=1, fusion=1.0)(x)
    assert (out[0, 1, 9, 9] - 0.2).abs() < 1e-4
    assert ClassInpainting(Colours(), classes=1, maxima=1, fusion=0.0)(x)[0, 1, 9, 9] > 0.3


def test_no_evidence_gives_no_box(noise):
    net = Colours()
    with torch.no_grad():
        net.fc.weight.neg_()
    assert ClassInpainting(net, **SETTINGS).boxes(noise).sum() == 0


def test_the_exact_surrogate_is_the_gradient_at_these_boxes(noise):
    defense = ClassInpainting(Colours(2), **SETTINGS, surrogate="exact")
    x = noise.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(inpaint_and_denoise(x, defense.boxes(noise)).square().sum(), x)
    for seen in (defense, adaptive(defense), Pipeline(defense)):
        (gradient,) = torch.autograd.grad(seen(x).square().sum(), x)
        torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-6)


def test_the_identity_surrogate_is_the_authors_bpda(noise):
    defense = ClassInpainting(Colours(2), **SETTINGS, surrogate="identity")
    x = noise.clone().requires_grad_()
    for seen in (adaptive(defense), identity_bpda(defense), identity_bpda(ClassInpainting(Colours(2), **SETTINGS))):
        out = seen(x)
        assert torch.equal(out, defense(noise))
        (gradient,) = torch.autograd.grad(out.sum(), x)
        assert torch.equal(gradient, torch.ones_like(x))


def test_the_boxes_of_a_call_are_those_of_its_image():
    """An attack moves the evidence, and with it the boxes; nothing is kept from the call before."""
    defense = ClassInpainting(Colours(), classes=1, maxima=1)
    for row, column in ((3, 4), (20, 29)):
        x = dots((0, row, column, 0.9)).requires_grad_()
        (gradient,) = torch.autograd.grad(adaptive(defense)(x)[0, 0].sum(), x)
        near = gradient[0, 0, row - 1 : row + 2, column - 1 : column + 2]
        assert near.mean() < 0.8  # what lies in a box counts half
        assert adaptive(defense)(x)[0, 0, row, column] < 0.6


def test_one_pass_of_the_net_a_call_with_a_gradient_and_without(noise):
    calls = []

    class Counting(Colours):
        def forward(self, x: Tensor) -> Tensor:
            calls.append(torch.is_grad_enabled())
            return super().forward(x)

    defense = ClassInpainting(Counting(), **SETTINGS)
    adaptive(defense)(noise.clone().requires_grad_())
    defense(noise)
    assert calls == [False, False]


def test_the_net_and_its_gradients_are_left_as_they_were(noise):
    net = Colours(2).train()
    model = defend(net, ClassInpainting(**SETTINGS))
    adaptive(model)(noise).sum().backward()
    assert net.training
    assert net.fc.weight.grad is not None
    alone = Colours(2)
    inside = inpaint_and_denoise(noise, ClassInpainting(alone, **SETTINGS).boxes(noise))
    alone(inside).sum().backward()
    torch.testing.assert_close(net.fc.weight.grad, alone.fc.weight.grad)


def test_the_net_is_referred_to_not_owned(noise):
    net = Colours(2)
    defense = ClassInpainting(net, **SETTINGS)
    model = defend(net, defense)
    assert list(defense.parameters()) == []
    assert defense.state_dict() == {}
    assert len(model.state_dict()) == 2
    twin = copy.deepcopy(model)
    twin[1].fc.weight.data.neg_()
    assert twin[0].boxes(noise).sum() == 0 < model[0].boxes(noise).sum()


def test_defend_attaches_the_model_unless_there_is_one():
    first = Colours()
    defense = ClassInpainting(first, **SETTINGS)
    defend(Colours(), defense)
    assert defense.net is first
    net = Colours()
    assert defend(net, LGS(), ClassInpainting(**SETTINGS))[1].net is net


def test_a_built_model_uses_its_net():
    spec = ModelSpec("lisa_cnn", classes=tuple("abcdef"), defenses=(DefenseSpec("class_inpainting"),))
    model = build(spec).eval()
    assert model.class_inpainting.net is model.net
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 6)


@pytest.mark.parametrize("net", [LisaCNN(18), GtsrbCNN(43)], ids=lambda net: type(net).__name__)
def test_nets_for_signs(net):
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    boxes = ClassInpainting(net).boxes(x)
    assert ((boxes.mean((1, 2, 3)) > 0) & (boxes.mean((1, 2, 3)) < 0.2)).all()
    assert torch.equal(boxes, ClassInpainting(net).boxes(x))


@pytest.mark.parametrize("size", [(1, 1), (31, 33), (33, 31), (5, 64)], ids=str)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_any_size_in_every_mode(size, mode):
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    defense = ClassInpainting(Colours(), **SETTINGS)
    with mode():
        out = defense(x.clone())
    assert out.shape == x.shape
    assert torch.equal(out, defense(x))


def test_shows_its_settings():
    assert "without net, classes=5, maxima=3" in repr(ClassInpainting())
    assert "surrogate='identity'" in repr(ClassInpainting(Colours(), surrogate="identity"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": 0}, "classes"),
        ({"maxima": 0}, "maxima"),
        ({"half_side": -1}, "half_side"),
        ({"separation": -1}, "separation"),
        ({"fusion": 1.1}, "fusion"),
        ({"inpainting": "gan"}, "diffusion"),
        ({"surrogate": "none"}, "identity"),
    ],
)
def test_bad_settings_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        ClassInpainting(**settings)


def test_bad_nets_raise(noise):
    with pytest.raises(RuntimeError, match="attach"):
        ClassInpainting()(noise)
    with pytest.raises(ValueError, match="the net has 3, got 5"):
        ClassInpainting(Colours())(noise)
    with pytest.raises(KeyError, match="no layer 'last'; there are: pick, fc"):
        ClassInpainting(Colours(), layer="last")
    with pytest.raises(KeyError, match="no layer 'last'"):
        defend(Colours(), ClassInpainting(layer="last"))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 20 * 31, 5))
    with pytest.raises(ValueError, match="no feature maps"):
        defend(flat, ClassInpainting())(noise)
