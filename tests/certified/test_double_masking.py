"""Double masking is the published algorithm, image for image, at no more passes."""

import pytest
import torch
from torch import nn

from blurnet.attacks.patch.lavan import LaVAN
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.certified.double_masking import DoubleMasking
from blurnet.certified.mask_set import MaskSet
from blurnet.data.images import read_image, square
from blurnet.data.sources.lisa import LisaCrops
from blurnet.evaluation.model import read_model
from blurnet.masks import Place
from blurnet.transforms.base import adaptive, defend
from blurnet.transforms.bit_depth import BitDepth
from blurnet.zoo.models import load_model
from tests.certified.test_conformance import Counting
from tests.certified.toys import MASKS, PATCH, Worst, images_for, patched, plain_answer, plain_certified, plain_masks
from tests.certified.toys import random_net as net_of

AT = Place(4 / 64, "anywhere")


def hard_images(seed: int) -> torch.Tensor:
    """Toy images, some with patches that split the votes."""
    clean = images_for(12)
    draw = torch.Generator().manual_seed(seed)
    attacked = patched(clean, 4).flatten(0, 1)
    return torch.cat([clean, attacked[torch.randperm(len(attacked), generator=draw)[:60]]])


@pytest.mark.parametrize("seed", range(4))
def test_is_the_plain_loop(seed):
    """Answers, certificates and never more passes: N for each image and for each mask tried, all pairs to certify."""
    net, images, masks = net_of(seed), hard_images(seed), plain_masks()
    shown = Counting(net)
    model = DoubleMasking(shown, patch=PATCH, masks=MASKS, margin=0.0, batch=50)
    found = [plain_answer(net, image, masks) for image in images]
    labels = torch.tensor([answer for answer, _ in found])
    if seed in (1, 2):
        assert {case for _, case in found} == {"I", "II", "III"}
    assert torch.equal(model(images).argmax(1), labels)
    certificate = model.certify(images, labels)
    assert torch.equal(certificate.prediction, labels)
    assert torch.equal(certificate.agreement, torch.tensor([case == "I" for _, case in found]))
    proven = [plain_certified(net, image, int(label), masks) for image, label in zip(images, labels, strict=True)]
    assert torch.equal(certificate.certified, torch.tensor(proven))
    pairs = len(masks) * (len(masks) - 1) // 2
    for image, passes in zip(images, certificate.passes.tolist(), strict=True):
        plain, shown.seen = Counting(net), 0
        _ = plain_answer(plain, image, masks), model(image[None])
        assert shown.seen <= plain.seen
        assert passes <= plain.seen + pairs


@pytest.mark.parametrize("k", [2, 3, 4])
def test_unanimous_images_cost_one_view_a_mask(k):
    shown = Counting(net_of(1))
    model, images = DoubleMasking(shown, patch=PATCH, masks=k), images_for(40)
    agreed = model.certify(images, model(images).argmax(1)).agreement
    assert agreed.any()
    shown.seen = 0
    model(images[agreed])
    assert shown.seen == len(MaskSet.of(8, PATCH, k)) * int(agreed.sum())


def test_wrong_images_are_not_pursued():
    """An image that is answered wrongly under one mask is not shown under two."""
    model, images = DoubleMasking(net_of(1), patch=PATCH, masks=MASKS), images_for(40)
    labels = model(images).argmax(1)
    passes = model.certify(images, (labels + 1) % 4).passes
    assert (passes[model.certify(images, labels).agreement] == MASKS**2).all()


def test_a_margin_asks_more_of_a_certificate_only():
    images = images_for(40)
    strict, loose = (DoubleMasking(net_of(1), patch=PATCH, masks=MASKS, margin=m) for m in (0.3, 0.0))
    labels = loose(images).argmax(1)
    assert torch.equal(strict(images).argmax(1), labels)
    few, many = (model.certify(images, labels).certified for model in (strict, loose))
    assert (few <= many).all()
    assert few.sum() < many.sum()


def test_a_smaller_patch_is_certified_too():
    """Masks for 2x2 hold 1x2 and 2x1."""
    model = DoubleMasking(Worst().eval(), patch=(2, 2), masks=3)
    chosen = model.mask_set_for((8, 8))
    assert chosen.covers(torch.tensor([[(y, y + 1, x, x + 2)] for y in range(8) for x in range(7)]))


def test_another_mask_set():
    stickers = MaskSet.rp2(32, reach=1, masks=2)
    model = DoubleMasking(nn.Sequential(nn.AvgPool2d(16), nn.Flatten()).eval(), mask_set=stickers)
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert model.threat((32, 32)) == stickers.threat
    assert model.certify(images, model(images).argmax(1)).passes.max() <= 10
    with pytest.raises(ValueError, match=r"mask_set: made for images of \(32, 32\), got \(8, 8\) pixels"):
        model(images_for(1))


def test_the_settings_are_shown():
    net = net_of(0)
    assert repr(DoubleMasking(net, area=0.05)).startswith("DoubleMasking(\n  area=0.05, masks=4, fill=0.5")
    assert "patch=(2, 3), masks=3" in repr(DoubleMasking(net, patch=(2, 3), masks=3))


def test_a_margin_falls_as_votes_fall():
    """The logits are those of the vote that would turn the majority, or of the pair that would refute."""
    net, images = net_of(2), hard_images(2)
    model = DoubleMasking(net, patch=PATCH, masks=MASKS)
    logits, chosen = model(images), model.mask_set_for((8, 8)).hidden()
    singles = torch.stack([net(torch.where(mask, 0.5, images)) for mask in chosen], 1)
    agreed = model.certify(images, logits.argmax(1)).agreement
    lead = singles.topk(2, 2).values
    middle = (lead[..., 0] - lead[..., 1]).sort(1).values[:, len(chosen) // 2]
    top = logits.topk(2, 1).values
    torch.testing.assert_close((top[:, 0] - top[:, 1])[agreed], middle[agreed], rtol=1e-4, atol=1e-3)


def test_defenses_inside_keep_their_gradient_rule():
    """A transformation behind the masks is attacked through its surrogate, though the gradient is made later."""
    model = adaptive(DoubleMasking(defend(net_of(1), BitDepth(3)).eval(), patch=PATCH, masks=MASKS))
    x = images_for(4).requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, 0].sum(), x)
    assert (gradient.flatten(1).norm(dim=1) > 0).all()


@pytest.mark.parametrize("attack", [PatchPGD(AT, steps=40), LaVAN("random", AT, steps=40)], ids=["pgd", "lavan"])
def test_plain_attacks_climb_the_defense(attack):
    """They break images that are not certified, more than what breaks the plain net transfers, and no certified one."""
    net, images = net_of(1), images_for(60)
    model = DoubleMasking(net, patch=PATCH, masks=MASKS)
    labels = model(images).argmax(1)
    certified = model.certify(images, labels).certified
    direct = model(attack(model, images, labels)).argmax(1) != labels
    same = net(images).argmax(1) == labels
    transferred = model(attack(net, images, labels)).argmax(1) != labels
    assert not (direct & certified).any()
    assert (direct & same).sum() > (transferred & same).sum()


def check_plain(net: nn.Module, images: torch.Tensor, patch: int, k: int) -> None:
    """Answers and certificates of the plain loop, the certificates for what the loop answers."""
    model, masks = DoubleMasking(net, patch=patch, masks=k, margin=0.0), plain_masks(images.shape[-1], patch, k)
    with torch.no_grad():
        answers = torch.tensor([plain_answer(net, image, masks)[0] for image in images])
        proven = [plain_certified(net, image, int(label), masks) for image, label in zip(images, answers, strict=True)]
    certificate = model.certify(images, answers)
    assert torch.equal(certificate.prediction, answers)
    assert torch.equal(certificate.certified, torch.tensor(proven))
    assert 0 < certificate.certified.sum() < len(images)


def test_is_the_plain_loop_on_victims(victims):
    """Stop signs of RP2; what is small behind a mask decides here, so a third of them is enough."""
    check_plain(load_model("lisa_cnn").eval(), victims[::3], 7, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lisa_cnn-patch", "lisa_cnn-trades"])
def test_is_the_plain_loop_on_200_crops(shared_data, name):
    images, _ = LisaCrops(shared_data / "lisa-crops").load("test").tensors()
    check_plain(load_model(name).eval(), images[:: len(images) // 200][:200], 7, 4)


@pytest.mark.slow
def test_is_the_plain_loop_on_20_photos(shared_data):
    """Of ImageNet, for EfficientNet-Lite0 and a patch of 2 %."""
    weights = shared_data / "efficientnet-lite0" / "efficientnet_lite0.safetensors"
    net = read_model("timm/tf_efficientnet_lite0", str(weights)).net
    files = sorted((shared_data / "imagenet-nips2017" / "images").iterdir())[:20]
    images = torch.stack([square(read_image(file), 224) for file in files]).float() / 255
    check_plain(net, images, 32, 3)
