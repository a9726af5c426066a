"""Places: exhaustive and shortlisted search, several tries, records."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from blurnet.attacks.engine.losses import objective
from blurnet.attacks.patch.lavan import LaVAN
from blurnet.attacks.patch.location import BestLocation
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.attacks.universal.rp2 import RP2
from blurnet.masks import box_masks, grid_boxes, mask_boxes


class Corner(nn.Module):
    """Class 1 wins as soon as one pixel, ``at``, is no longer black; no other pixel counts."""

    def __init__(self, at: tuple[int, int]) -> None:
        super().__init__()
        self.at = at

    def forward(self, x):
        light = x[:, :, self.at[0], self.at[1]].sum(1)
        return torch.stack([torch.full_like(light, 0.3), light, light * 0 - 1], 1)


@pytest.mark.parametrize("at", [(0, 0), (15, 15), (0, 15), (15, 0), (7, 9)], ids=str)
@pytest.mark.parametrize(
    "settings", [{}, {"shortlist": 3}, {"probe": "noise"}, {"shortlist": 3, "probe_steps": 2}], ids=str
)
def test_finds_the_one_pixel_that_counts(at, settings):
    """The last row and column too, with a stride that does not divide the side."""
    x, y = torch.zeros(2, 3, 16, 16), torch.zeros(2, dtype=torch.int64)
    attack = BestLocation(PatchPGD(steps=3, start="image"), size=(3, 4), stride=3, **settings)
    record = attack.record(Corner(at), x, y)
    top, bottom, left, right = record.box.unbind(1)
    assert ((top <= at[0]) & (at[0] < bottom) & (left <= at[1]) & (at[1] < right)).all()
    assert (record.stage == 0).all()
    assert torch.equal(record.box[0], record.box[1])


def test_probes_are_a_gray_rectangle_everywhere(problem):
    """The exhaustive ranking against a loop over places."""
    attack = BestLocation(PatchPGD(steps=0), size=5, stride=4, chunk=7)
    boxes = grid_boxes((16, 16), 5, 4)
    assert torch.equal(attack.grid(problem.images), boxes)
    scores = []
    for mask in box_masks((16, 16), boxes):
        with torch.no_grad():
            logits = problem.net(torch.where(mask.bool(), 0.5, problem.images))
        scores.append(objective("margin", logits, problem.labels))
    best = torch.stack(scores, 1).argmax(1)
    record = attack.record(problem.net, problem.images, problem.labels)
    assert torch.equal(record.box, boxes[best])
    changed = mask_boxes((record.adversarial != problem.images).any(1, keepdim=True))
    assert torch.equal(changed, boxes[best])  # the start of the attack is noise


def test_the_shortlist_holds_the_steepest_windows(problem):
    attack = BestLocation(PatchPGD(steps=0), size=(4, 6), stride=5, shortlist=1)
    x = problem.images.clone().requires_grad_()
    value = objective("margin", problem.net(x), problem.labels)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    boxes = attack.grid(x)
    sums = [(gradient.square() * mask).flatten(1).sum(1) for mask in box_masks((16, 16), boxes)]
    record = attack.record(problem.net, problem.images, problem.labels)
    assert torch.equal(record.box, boxes[torch.stack(sums, 1).argmax(1)])


def test_more_tries_are_not_weaker_and_only_standing_images_go_on(problem):
    sizes: list[int] = []

    def counted(x):
        sizes.append(len(x))
        return problem.net(x)

    fallen = []
    for tries in (1, 3, 9):
        attack = BestLocation(PatchPGD(steps=8), size=4, stride=6, tries=tries)
        record = attack.record(counted, problem.images, problem.labels)
        assert ((record.stage >= -1) & (record.stage < tries)).all()
        with torch.no_grad():
            fooled = problem.net(record.adversarial).argmax(1) != problem.labels
        assert torch.equal(fooled, record.stage >= 0)
        fallen.append(int(fooled.sum()))
    assert fallen == sorted(fallen)
    assert len(attack.stage_names) == 9
    later = record.calls[record.stage != 0]
    assert len(later) == 0 or later.min() > record.calls[record.stage == 0].min()


def test_calls_are_counted(problem):
    """Clean, nine places, the attack's two looks, and one at what it made: whoever falls at once needs no more."""
    seen: list[int] = []

    def counted(x):
        seen.append(len(x))
        return problem.net(x)

    inner = PatchPGD(steps=1, stop=False)
    record = BestLocation(inner, size=4, stride=6).record(counted, problem.images, problem.labels)
    assert (record.calls == 1 + 9 + 2 + 1).all()
    assert sum(seen) == int(record.calls.sum())
    shortlisted = BestLocation(inner, size=4, stride=6, shortlist=2)
    assert (shortlisted.record(counted, problem.images, problem.labels).calls == 1 + 2 + 2 + 1).all()
    # LaVAN keeps no count of its own: two looks on average.
    plain = BestLocation(LaVAN(None, steps=1, confidence=1.0), size=4, stride=6)
    assert (plain.record(problem.net, problem.images, problem.labels).calls == 1 + 9 + 2 + 1).all()


def test_does_not_depend_on_the_batch_or_the_chunk(problem):
    net, images = copy.deepcopy(problem.net).double(), problem.images.double()
    attack = BestLocation(LaVAN("random", steps=4), area=0.1, stride=3, shortlist=4, probe_steps=1, tries=2)
    together = attack(net, images, problem.labels)
    alone = [attack(net, x[None], y[None]) for x, y in zip(images, problem.labels, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone))
    chunked = dataclasses.replace(attack, chunk=3)(net, images, problem.labels)
    torch.testing.assert_close(together, chunked)


def test_images_that_are_wrong_already_are_marked(problem):
    labels = problem.labels % 4 + 1
    record = BestLocation(PatchPGD(steps=1), size=4, stride=6).record(problem.net, problem.images, labels)
    assert (record.stage == -2).all()


def test_bad_settings_raise(problem):
    for settings, message in {
        (): "expected one of area, size and race, got None, None and None",
        (("area", 0.1), ("size", 3)): "expected one of area, size and race, got 0.1, 3 and None",
        (("size", 3), ("stride", 0)): "stride: expected from 1, got 0",
        (("size", 3), ("tries", 0)): "tries: expected from 1, got 0",
        (("size", 3), ("probe", "black")): "probe: expected one of",
        (("size", 3), ("loss", "hinge")): "loss: expected one of",
        (("size", 3), ("probe_steps", 2)): "probe_steps: the attack is tried on a shortlist",
    }.items():
        with pytest.raises(ValueError, match=f"BestLocation.*{message}"):
            BestLocation(PatchPGD(), **dict(settings))
    with pytest.raises(ValueError, match="patch: 17x17 pixels do not fit"):
        BestLocation(PatchPGD(), size=17)(problem.net, problem.images, problem.labels)


def test_attacks_with_one_mask_for_the_set_say_so(problem):
    with pytest.raises(ValueError, match="RP2 mask"):
        BestLocation(RP2(None, problem.mask, steps=1), size=4)(problem.net, problem.images, problem.labels)
