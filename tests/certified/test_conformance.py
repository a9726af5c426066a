"""One suite for every certified defense: enrol one by a line in CASES."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from blurnet.certified.base import CertifiedModel, Model
from blurnet.certified.derandomized import Derandomized
from blurnet.certified.double_masking import DoubleMasking
from blurnet.certified.mask_set import MaskSet
from blurnet.certified.minority import MinorityReports
from blurnet.certified.rounds import Rounds, different
from blurnet.certified.views import Views
from blurnet.masks import grid_boxes
from tests.certified.toys import PATCH, SIZE, Worst, images_for, patched, random_net, worst_images

#: Every defense against a patch of 2x2 pixels on 8x8; further arguments are handed on.
CASES: dict[str, Callable[..., CertifiedModel]] = {
    "double-masking": lambda model, **more: DoubleMasking(model, patch=PATCH, masks=3, **more),
    "double-masking-area": lambda model, **more: DoubleMasking(model, area=4 / 64, masks=4, **more),
    "minority-reports": lambda model, **more: MinorityReports(model, patch=PATCH, masks=3, **more),
    "minority-reports-sure": lambda model, **more: MinorityReports(model, patch=PATCH, masks=3, threshold=0.6, **more),
    "columns": lambda model, **more: Derandomized(model, patch=PATCH, width=2, **more),
    "rows": lambda model, **more: Derandomized(model, patch=PATCH, kind="rows", width=1, **more),
    "blocks": lambda model, **more: Derandomized(model, patch=PATCH, kind="blocks", width=3, **more),
    "columns-threshold": lambda model, **more: Derandomized(model, patch=PATCH, width=2, threshold=0.3, **more),
}
PATCHES = 8

each = pytest.mark.parametrize("make", CASES.values(), ids=CASES)


def held(model: CertifiedModel, images: Tensor, labels: Tensor) -> Tensor:
    """Images that are answered correctly, or raise an alarm where the defense only detects."""
    right = model(images).argmax(1) == labels
    return right if model.recovers else right | model.alarm(images)


def broken_certificates(model: CertifiedModel, images: Tensor, labels: Tensor) -> tuple[int, int, int]:
    """How many attacked images there were of certified ones, how many answered wrongly, and by the plain net."""
    certified = model.certify(images, labels).certified
    attacked = patched(images[certified], PATCHES)
    if not len(images[certified]):
        return 0, 0, 0
    truth = labels[certified].repeat(len(attacked))
    plain = model.model(attacked.flatten(0, 1)).argmax(1) != truth
    return len(truth), int((~held(model, attacked.flatten(0, 1), truth)).sum()), int(plain.sum())


@each
@pytest.mark.parametrize("seed", [1, 2])
def test_no_certified_image_is_ever_answered_wrong(make, seed):
    """Every place of the patch, patches of many colours."""
    model, images = make(random_net(seed)), images_for(24)
    trials, wrong, _ = broken_certificates(model, images, model(images).argmax(1))
    assert trials  # some image is certified, or this tests nothing
    assert wrong == 0


@each
def test_no_certified_image_falls_to_the_worst_net(make):
    """A net that says whatever a patch tells it wherever it sees one."""
    images = worst_images()
    _, wrong, _ = broken_certificates(make(Worst().eval()), images, torch.zeros(len(images), dtype=torch.int64))
    assert wrong == 0


def test_soundness_reaches_every_case():
    """Thousands of patches, which break the plain net, and all three ways to an answer of double masking."""
    total, plain, cases = 0, 0, torch.zeros(3, dtype=torch.int64)
    for seed in (1, 2, 3):
        model, images = DoubleMasking(random_net(seed), patch=PATCH, masks=3), images_for(64)
        labels = model(images).argmax(1)
        trials, wrong, fooled = broken_certificates(model, images, labels)
        assert wrong == 0
        total, plain = total + trials, plain + fooled
        certified = model.certify(images, labels).certified
        attacked = patched(images[certified], PATCHES).flatten(0, 1)
        rounds = Rounds(Views(model.model, MaskSet.of(SIZE, PATCH, 3).hidden(), 0.5, 512), attacked, 0.0)
        confirmed = rounds.second() >= 0
        cases += torch.stack([rounds.agreement, confirmed, ~rounds.agreement & ~confirmed]).sum(1)
    assert total > 10_000
    assert plain > 1_000
    assert (cases > 500).all(), cases


def broken(model: CertifiedModel) -> int:
    """Wrong certificates of the worst net."""
    images = worst_images()
    return broken_certificates(model, images, torch.zeros(len(images), dtype=torch.int64))[1]


@pytest.mark.parametrize("missing", range(9))
def test_a_missing_mask_is_caught(missing):
    whole = MaskSet.of(SIZE, PATCH, 3)
    masks = whole.masks[:missing] + whole.masks[missing + 1 :]
    model = DoubleMasking(Worst().eval(), mask_set=MaskSet(whole.size, whole.threat, masks))
    assert broken(model) > 0


def test_a_mean_fill_is_caught(monkeypatch):
    def made(self: Views, images: Tensor, places: Tensor) -> Tensor:
        hidden = self.hidden[places[:, 1]] | self.hidden[places[:, 2]]
        return torch.where(hidden[:, None], images.mean((1, 2, 3), keepdim=True)[places[:, 0]], images[places[:, 0]])

    monkeypatch.setattr(Views, "made", made)
    assert broken(CASES["double-masking"](Worst().eval())) > 0


def test_a_dropped_pair_is_caught(monkeypatch):
    def fewer(masks: int, device: torch.device) -> tuple[Tensor, Tensor]:
        one, two = different(masks, device)
        kept = ~((one == 0) & (two == masks - 1))
        return one[kept], two[kept]

    monkeypatch.setattr("blurnet.certified.rounds.different", fewer)
    assert broken(CASES["double-masking"](Worst().eval())) > 0


def test_a_count_short_by_one_is_caught(monkeypatch):
    """The published count of partial images is one too few at the seam."""
    counted = Derandomized.reached
    monkeypatch.setattr(Derandomized, "reached", lambda self, size: counted(self, size) - 1)
    found = 0
    for seed in range(4):
        model, images = Derandomized(random_net(seed), patch=PATCH, width=3, stride=1), images_for(64)
        found += broken_certificates(model, images, model(images).argmax(1))[1]
    assert found > 0


@each
def test_batch_and_companions_do_not_matter(make):
    images = images_for(20)
    wanted = make(random_net(1), batch=512)
    labels = wanted(images).argmax(1)
    whole = wanted.certify(images, labels)
    for batch in (1, 7, 64):
        model = make(random_net(1), batch=batch)
        for mine, theirs in zip(model.certify(images, labels), whole, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-3)  # logits of hundreds
        torch.testing.assert_close(model(images), wanted(images), rtol=1e-4, atol=1e-3)
    alone = [wanted.certify(images[i : i + 1], labels[i : i + 1]) for i in range(len(images))]
    for mine, theirs in zip(zip(*alone, strict=True), whole, strict=True):
        torch.testing.assert_close(torch.cat(mine), theirs, rtol=1e-4, atol=1e-3)


@each
def test_answers_are_those_of_the_certificate(make):
    model, images = make(random_net(1)), images_for(20)
    labels = model(images).argmax(1)
    certificate = model.certify(images, labels)
    assert torch.equal(certificate.prediction, labels)
    torch.testing.assert_close(certificate.logits, model(images), rtol=1e-4, atol=1e-3)
    assert 0 < certificate.certified.sum() < len(images)
    wrong = model.certify(images, (labels + 1) % 4)
    assert not wrong.certified.any()
    assert torch.equal(wrong.prediction, labels)


@each
def test_every_view_is_counted(make):
    """``passes`` is what the model was shown."""
    shown = Counting(random_net(1))
    model, images = make(shown), images_for(20)
    labels = model(images).argmax(1)
    shown.seen = 0
    certificate = model.certify(images, labels)
    assert shown.seen == certificate.passes.sum()


class Counting(nn.Module):
    """A net that counts the images it is shown."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.seen, self.most = net, 0, 0
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        self.most = max(self.most, len(x))
        return self.net(x)


@each
def test_memory_does_not_grow_with_the_images(make):
    shown = Counting(random_net(1))
    model = make(shown, batch=10)
    x = images_for(100).requires_grad_()
    if model.recovers:  # else it answers as the net does, all images at once
        model(x).sum().backward()
    model.certify(x.detach(), torch.zeros(100, dtype=torch.int64))
    assert shown.most <= 10


@each
def test_a_gradient_changes_no_number_and_is_one(make):
    model, images = make(random_net(1)), images_for(8)
    with torch.no_grad():
        wanted = model(images)
    x = images.clone().requires_grad_()
    logits = model(x)
    assert torch.equal(logits, wanted)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum() - logits[:, 1].sum(), x, retain_graph=True)
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).norm(dim=1) > 0).all()
    assert torch.equal(gradient, torch.autograd.grad(logits[:, 0].sum() - logits[:, 1].sum(), x)[0])


@each
def test_no_images_share_a_gradient(make):
    model, images = make(random_net(1)), images_for(4)
    x = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[2, 0], x)
    assert gradient[2].norm() > 0
    assert gradient[[0, 1, 3]].norm() == 0


@each
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients(make, mode):
    model, images = make(random_net(1)), images_for(8)
    with mode():
        labels = model(images).argmax(1)
        assert model.certify(images, labels).certified.any()


@each
def test_any_callable(make):
    """A plain function gives what the module gives."""
    net, images = random_net(1), images_for(8)
    model = make(lambda x: net(x))
    assert torch.equal(model(images), make(net)(images))
    assert "lambda" in repr(model)
    with pytest.raises(TypeError, match="expected a model, images to logits, got int"):
        make(3)


@each
def test_copies_and_state(make):
    model, images = make(random_net(1)), images_for(8)
    wanted = model(images)
    assert torch.equal(copy.deepcopy(model)(images), wanted)
    assert {key.split(".")[0] for key in model.state_dict()} == {"model"}
    assert repr(model).startswith(f"{type(model).__name__}(")


@each
def test_says_what_it_is_against(make):
    assert make(random_net(1)).threat((SIZE, SIZE)) == "one 2x2-pixel patch (6.2 % of 8x8), anywhere"


@each
def test_which_patches_it_covers(make):
    """Those of its own size and smaller ones; no larger one, and not two at once."""
    model, size = make(random_net(1)), (SIZE, SIZE)
    for patch in (PATCH, (1, 2), 1):
        assert model.covers(size, grid_boxes(size, patch)[:, None])
    assert not model.covers(size, grid_boxes(size, 6)[:, None])
    assert not model.covers(size, torch.tensor([[[0, 1, 0, 1], [7, 8, 7, 8]]]))


def refused(make: Callable[..., CertifiedModel], model: Model, message: str) -> None:
    images = images_for(2)
    defended = make(model)
    for call in (lambda: defended(images), lambda: defended.certify(images, torch.tensor([0, 1]))):
        with pytest.raises(ValueError, match=message):
            call()


class Random(nn.Module):
    """Draws random numbers, and says so."""

    random = True

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.01 * torch.rand_like(x)


@each
def test_bad_models(make):
    net = random_net(1)
    refused(make, nn.Sequential(net).train(), r"Sequential is in training mode.*call \.eval\(\) first")
    dropout = nn.Sequential(net, nn.Dropout(0.5)).eval()
    dropout[1].train()
    refused(make, dropout, r"Dropout \(1\) is in training mode")
    refused(make, nn.Sequential(Random(), net).eval(), r"Random \(0\) draws random numbers")
    if make(net).recovers:
        refused(make, nn.Sequential(net, nn.Unflatten(1, (2, 2))).eval(), r"must return logits \(.*, classes\), got")


@each
def test_bad_input(make):
    model, images = make(random_net(1)), images_for(2)
    with pytest.raises(ValueError, match=r"expected pixels in \[0, 1\]"):
        model.certify(images * 2, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"expected shape \(2,\)"):
        model.certify(images, torch.tensor([0]))
    with pytest.raises(TypeError, match="integer"):
        model.certify(images, torch.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match="expected shape"):
        model(images[0])


KINDS = [DoubleMasking, MinorityReports, Derandomized]


@pytest.mark.parametrize("kind", KINDS)
def test_bad_settings(kind):
    net = random_net(1)
    name = kind.__name__
    with pytest.raises(ValueError, match=rf"{name} area: expected a share of the image in \(0, 1\], got 0"):
        kind(net, area=0.0)
    with pytest.raises(ValueError, match=rf"{name}: give area"):
        kind(net)
    with pytest.raises(ValueError, match=rf"{name}: give area"):
        kind(net, area=0.1, patch=2)
    with pytest.raises(ValueError, match=rf"{name} batch"):
        kind(net, patch=2, batch=0)
    for patch in (8, (8, 8), 9, (2, 9)):
        with pytest.raises(ValueError, match="patch: "):
            kind(net, patch=patch)(images_for(1))
    if kind is not Derandomized:
        with pytest.raises(ValueError, match=f"{name} masks: expected from 2, got 1"):
            kind(net, patch=2, masks=1)
