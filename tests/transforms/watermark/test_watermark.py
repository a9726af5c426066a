"""Digital watermarking: the region, both uses, and a net that is referred to."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blurnet.transforms.base import adaptive, defend
from blurnet.transforms.watermark.inpaint import inpaint
from blurnet.transforms.watermark.watermark import DigitalWatermark, salient_region
from blurnet.zoo.build import build
from blurnet.zoo.spec import DefenseSpec, ModelSpec


class Bright(nn.Module):
    """Logits that depend on bright pixels only, with a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0]))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x - 0.8).sum((1, 2, 3))[:, None] * self.weight


def attacked() -> tuple[Tensor, Tensor]:
    """A dark image with a bright, noisy patch, and the patch's place."""
    x, mask = torch.full((2, 3, 60, 70), 0.2), torch.zeros(1, 1, 60, 70)
    mask[..., 12:26, 40:54] = 1
    return torch.where(mask > 0, 0.81 + 0.18 * torch.rand(2, 3, 60, 70), x), mask


def test_blind_finds_the_patch_and_removes_it():
    x, mask = attacked()
    watermark = DigitalWatermark(Bright(), share=0.05)
    region = watermark.region(x)
    assert ((region >= mask) | (mask == 0)).all()
    assert region.mean() < 3 * mask.mean()
    assert (watermark(x) - 0.2).abs().max() < 1e-5


def test_non_blind_inpaints_the_mask(noise):
    mask = torch.zeros(20, 31)
    mask[4:9, 5:12] = 1
    assert torch.equal(DigitalWatermark(mask=mask)(noise), inpaint(noise, mask[None, None]))
    with pytest.raises(ValueError, match="mask"):
        DigitalWatermark(mask=mask)(noise[..., 1:])


def test_region_by_hand():
    salient = torch.zeros(2, 1, 30, 30)
    salient[0, 0, 10:16, 10:16] = torch.linspace(0.5, 1, 36).view(6, 6)
    salient[0, 0, 25, 25] = 0.9  # a lone pixel is no region
    region = salient_region(salient, share=0.05, density=0.5, window=3, dilation=3)
    assert region[0, 0, 9:17, 9:17].sum() == region[0].sum() > 36
    assert region[1].sum() == 0


def test_the_net_is_referred_to_not_owned():
    net = Bright()
    watermark = DigitalWatermark(net)
    model = defend(net, watermark)
    assert list(watermark.parameters()) == []
    assert watermark.state_dict() == {}
    assert len(model.state_dict()) == 1
    twin = copy.deepcopy(model)
    twin[1].weight.data.zero_()
    x, _ = attacked()
    assert twin[0].region(x).sum() == 0 < model[0].region(x).sum()


def test_defend_attaches_the_model_unless_there_is_one():
    x, _ = attacked()
    model = defend(Bright(), DigitalWatermark())
    assert torch.equal(model[0](x), DigitalWatermark(Bright())(x))
    first = Bright()
    watermark = DigitalWatermark(first)
    defend(Bright(), watermark)
    assert watermark._net == (first,)
    with pytest.raises(RuntimeError, match="attach"):
        DigitalWatermark()(x)


@pytest.mark.parametrize("inpainting", ["diffusion", "telea"])
def test_gradient_is_the_fillings_and_none_inside(inpainting):
    if inpainting != "diffusion":
        pytest.importorskip("cv2")
    x, mask = attacked()
    x.requires_grad_()
    defended = defend(Bright(), DigitalWatermark(Bright(), inpainting=inpainting, share=0.05))
    for model in (defended[0], adaptive(defended[0])):
        (gradient,) = torch.autograd.grad(model(x).sum(), x)
        assert (gradient[(mask > 0).expand_as(x)] == 0).all()
        far = gradient[..., -10:, :10]  # its own value, and a little of the filling
        assert ((far >= 1) & (far < 1.01)).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"share": 0.0}, "share"),
        ({"density": 1.5}, "density"),
        ({"window": 4}, "window"),
        ({"opening": 2}, "opening"),
        ({"dilation": 0}, "dilation"),
        ({"inpainting": "blur"}, "diffusion"),
        ({"net": Bright(), "mask": torch.ones(3, 3)}, "not both"),
    ],
)
def test_bad_settings_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        DigitalWatermark(**settings)


def test_a_built_model_takes_the_saliency_of_its_net():
    spec = ModelSpec("lisa_cnn", classes=("stop", "yield"), defenses=(DefenseSpec("digital_watermark"),))
    model = build(spec).eval()
    assert model.digital_watermark._net == (model.net,)
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 2)
