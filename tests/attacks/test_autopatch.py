"""AutoPatch: never weaker than any of its stages, the same alone and in a batch, honest about who broke what."""

import re

import pytest
import torch
from torch import nn

from blurnet.attacks.autopatch import BUDGETS, AutoPatch
from blurnet.attacks.base import STANDING, WRONG
from blurnet.attacks.patch.lavan import LaVAN
from blurnet.attacks.patch.location import BestLocation
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.attacks.patch.random_search import PatchRandomSearch
from blurnet.attacks.wrappers.model import EOT, Transfer
from blurnet.attacks.wrappers.worst_of import WorstOf
from blurnet.data.sources.victims import load_victims
from blurnet.masks import Place, patch_side
from blurnet.zoo.models import list_models, load_model


def broken(net, attack, images, labels):
    with torch.no_grad():
        return net(attack(net, images, labels)).argmax(1) != labels


@pytest.fixture(scope="module")
def hardened(problem):
    """A net whose margins are wide enough that a small patch breaks some images and not others."""

    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = problem.net
            with torch.no_grad():
                lead = problem.net(problem.images).topk(2, dim=1).values
            # Every image's own lead plus a share that grows with its number.
            self.boost = (lead[:, 0] - lead[:, 1]) * torch.linspace(-0.2, 1.5, len(problem.labels))

        def forward(self, x):
            distance = (x[:, None] - problem.images[None]).flatten(2).norm(dim=2)
            nearest = distance.argmin(1)
            logits = self.net(x)
            bonus = torch.zeros_like(logits).scatter(1, problem.labels[nearest][:, None], self.boost[nearest][:, None])
            return logits + bonus

    return Wide().eval()


@pytest.mark.parametrize("masked", [False, True], ids=["anywhere", "mask"])
def test_never_weaker_than_any_stage_alone(hardened, problem, masked):
    attack = AutoPatch(0.05, problem.mask if masked else None, "quick", source=problem.net, views=(problem.net,))
    record = attack.record(hardened, problem.images, problem.labels)
    with torch.no_grad():
        wrong = hardened(record.adversarial).argmax(1) != problem.labels
    alone = {name: broken(hardened, stage, problem.images, problem.labels) for name, stage in attack.stages(16).items()}
    assert torch.equal(wrong, torch.stack([*alone.values()]).any(0))
    assert wrong.any()
    names = attack.stage_names
    for image, stage in enumerate(record.stage.tolist()):
        if stage >= 0:
            assert alone[names[stage]][image]
            assert not any(alone[name][image] for name in names[:stage]), "an earlier stage breaks it"


def test_an_image_has_the_same_record_alone(hardened, problem):
    attack = AutoPatch(0.05, budget="quick", source=problem.net)
    together = attack.record(hardened, problem.images, problem.labels)
    for i in (0, 5):
        alone = attack.record(hardened, problem.images[i : i + 1], problem.labels[i : i + 1])
        assert together.stage[i] == alone.stage[0]
        assert torch.equal(together.box[i], alone.box[0])
        assert torch.allclose(together.adversarial[i], alone.adversarial[0], atol=1e-4)


def test_the_box_is_the_threat(problem):
    record = AutoPatch(0.1, budget="quick").record(problem.net, problem.images, problem.labels)
    side = patch_side((16, 16), 0.1)
    for i, (top, bottom, left, right) in enumerate(record.box.tolist()):
        assert (bottom - top, right - left) == (side, side)
        outside = record.adversarial[i].clone()
        outside[:, top:bottom, left:right] = problem.images[i, :, top:bottom, left:right]
        assert torch.equal(outside, problem.images[i])
    assert (record.stage >= 0).all()
    assert (record.calls > 0).all()


def test_wrong_and_standing_images_are_told_apart(problem):
    labels = problem.labels.clone()
    labels[0] = 0
    constant = nn.Sequential(nn.Flatten(), nn.Linear(768, 5))
    with torch.no_grad():
        constant[1].weight.zero_()
        constant[1].bias.copy_(torch.tensor([0.0, 9, 0, 0, 0]))
    record = AutoPatch(0.05, budget="quick").record(constant, problem.images, problem.labels)
    assert torch.equal(record.stage == STANDING, problem.labels == 1)
    assert torch.equal(record.stage == WRONG, problem.labels != 1)
    fooled = AutoPatch(0.1, budget="quick").record(problem.net, problem.images, labels)
    assert fooled.stage[0] == WRONG
    assert torch.equal(fooled.adversarial[0], problem.images[0])


class Clean:
    """A model that notes how often it is shown each clean image, bit for bit, whether for logits or gradients."""

    def __init__(self, net, images):
        self.net, self.images = net, images
        self.looks = torch.zeros(len(images))

    def __call__(self, x):
        same = (x[:, None] == self.images).flatten(2).all(2).sum(0)
        self.looks += same
        return self.net(x)


PLACED = BestLocation(PatchPGD(steps=3), size=3, stride=6)
LISTED = BestLocation(PatchPGD(steps=3), size=3, stride=6, shortlist=2, tries=2)


@pytest.mark.parametrize(
    ("attack", "gradients"),
    [
        (PatchPGD(Place(0.05), "second", steps=3), 0),
        (PLACED, 0),
        (LISTED, 1),
        (WorstOf([PLACED, LaVAN("second", Place(0.02), steps=2), PatchRandomSearch(0.02, steps=3)], stop=False), 0),
        (WorstOf([WorstOf([PLACED]), PLACED]), 0),
        (WorstOf([WorstOf([LISTED]), PLACED, EOT(LISTED, 1)], stop=False), 2),
        (AutoPatch(0.01, budget="quick"), 1),  # one for each race; the other stages have their places from it
        (AutoPatch(0.1, budget="standard"), 2),
    ],
    ids=["mask", "places", "shortlist", "worst of", "nested", "nested shortlists", "quick", "standard"],
)
def test_a_clean_image_is_shown_once(attack, gradients, hardened, problem):
    """One pass gives its logits, which are handed on, and the gradients of all shortlists of places."""
    assert attack.clean_gradients == gradients
    model = Clean(hardened, problem.images)
    attack.record(model, problem.images, problem.labels)
    assert (model.looks == 1).all()
    with torch.no_grad():
        clean = hardened(problem.images)
    model = Clean(hardened, problem.images)
    attack.record(model, problem.images, problem.labels, clean=clean)
    assert (model.looks == (1 if gradients else 0)).all()


def test_other_models_are_not_shown_the_clean_images(hardened, problem):
    model, view, source = (Clean(hardened, problem.images) for _ in range(3))
    attack = AutoPatch(0.01, budget="quick", views=(view,), source=source)
    record = attack.record(model, problem.images, problem.labels)
    assert (model.looks == 1).all()
    assert [m.looks.max() for m in (view, source)] == [0, 0]
    assert (record.stage == STANDING).any()  # which got as far as the view and the source


def test_larger_budgets_hold_the_stages_of_smaller_ones():
    names = [set(AutoPatch(budget=name, source=nn.Identity(), views=(nn.Identity(),)).stage_names) for name in BUDGETS]
    assert names[0] < names[1] < names[2]
    assert "transfer" not in AutoPatch().stage_names
    assert {"view 1", "transfer"} <= names[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"area": 0}, "AutoPatch area: expected a share of the image in (0, 1], got 0"),
        ({"area": 1.5}, "AutoPatch area"),
        ({"budget": "huge"}, "expected one of ['quick', 'standard', 'full'], got 'huge'"),
    ],
)
def test_bad_settings_raise(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        AutoPatch(**settings)
    with pytest.raises(TypeError, match="expected models"):
        AutoPatch(views=("lisa_cnn",))


def at_least_as_strong(name, shared_data, count=40):
    """AutoPatch breaks every victim that any of four attacks of the same threat breaks."""
    victims = load_victims(f"rp2:{shared_data / 'rp2-lisa'}")
    net, baseline = load_model(name), load_model("lisa_cnn")
    images, labels = victims.images[:count], victims.labels[:count]
    found = broken(net, AutoPatch(0.05, source=baseline), images, labels)
    margin = PatchPGD(steps=100)
    rivals = WorstOf(
        [
            LaVAN("second", Place(0.05, "border"), steps=100),
            LaVAN("second", Place(0.05, "anywhere"), steps=100),
            PatchPGD(Place(0.05, "anywhere"), "second", loss="cross-entropy", optimizer="adam", composition="add"),
            PatchRandomSearch(0.05, steps=500),
            Transfer(BestLocation(margin, 0.05, shortlist=32), baseline),
        ],
        stop=False,
    )
    missed = broken(net, rivals, images, labels) & ~found
    assert not missed.any(), f"{name}: AutoPatch left {int(missed.sum())} images that a single attack breaks"


def test_stronger_than_single_attacks_on_a_shipped_net(shared_data):
    at_least_as_strong("lisa_cnn-tv", shared_data, count=8)


@pytest.mark.slow
@pytest.mark.parametrize("name", list_models())
def test_stronger_than_single_attacks_on_every_shipped_net(name, shared_data):
    at_least_as_strong(name, shared_data)
