"""The race: every place is asked, the best go on, one success ends it, and what it costs is what it says."""

import copy
import re

import pytest
import torch
from torch import nn

from blurnet.attacks.base import STANDING, Problem
from blurnet.attacks.patch import race as module
from blurnet.attacks.patch.location import BestLocation
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.attacks.patch.race import PatchRace, Rung
from blurnet.attacks.wrappers.worst_of import WorstOf


class Corner(nn.Module):
    """Class 1 wins where the pixels of one square of 3 x 3 are light; a larger gradient elsewhere leads astray."""

    def __init__(self, at: tuple[int, int], needed: float = 8.5) -> None:
        super().__init__()
        self.at, self.needed = at, needed

    def forward(self, x):
        top, left = self.at
        light = x[:, :, top : top + 3, left : left + 3].mean(1).sum((1, 2))
        bait = 0.1 * (6 * x[:, :, :3, 8:11].mean(1).sum((1, 2))).clamp(max=1)
        return torch.stack([torch.full_like(light, self.needed), light + bait, light * 0 - 9], 1)


def black(n=2):
    return torch.zeros(n, 3, 16, 16), torch.zeros(n, dtype=torch.int64)


@pytest.mark.parametrize("at", [(0, 0), (13, 13), (0, 13), (7, 4)], ids=str)
def test_every_place_is_asked(at):
    """Only the square itself, to the pixel, can win: neither a grid nor a shortlist would do."""
    x, y = black()
    record = PatchRace(9 / 256, rungs=(Rung(676, 4), Rung(8, 30))).record(Corner(at), x, y)
    assert (record.stage == 0).all()
    assert record.box.tolist() == [[at[0], at[0] + 3, at[1], at[1] + 3]] * 2


def test_calls_are_counted_and_no_more_than_the_rungs_say():
    seen = []

    def model(x):
        seen.append(len(x))
        return Corner((7, 4), needed=99.0)(x)

    x, y = black()
    rungs = (Rung(50, 2), Rung(7, 4, 2), Rung(3, 5, 2, 1))
    record = PatchRace(9 / 256, rungs=rungs).record(model, x, y)
    assert (record.stage == STANDING).all()
    assert (record.calls == 1 + 50 * 3 + 7 * 2 * 5 + 3 * 3 * 6).all()
    assert sum(seen) == int(record.calls.sum())


def test_a_success_spares_the_waves_that_follow():
    x, y = black(1)
    easy = PatchRace(9 / 256, rungs=(Rung(196, 4),)).record(Corner((7, 4), needed=0.2), x, y)
    assert easy.stage[0] == 0
    assert easy.calls[0] <= 1 + 5 * 64


def test_later_rounds_go_on_from_the_patches_before():
    """A round of no steps finds again what was there; more steps climb from it."""
    x, y = black(1)
    net = Corner((7, 4), needed=9.5)  # out of reach
    one = PatchRace(9 / 256, rungs=(Rung(196, 1),)).record(net, x, y)
    two = PatchRace(9 / 256, rungs=(Rung(196, 1), Rung(2, 0))).record(net, x, y)
    assert torch.equal(one.adversarial, two.adversarial)
    assert two.calls[0] == one.calls[0] + 2
    three = PatchRace(9 / 256, rungs=(Rung(196, 1), Rung(2, 20))).record(net, x, y)
    assert net(three.adversarial)[0, 1] > net(one.adversarial)[0, 1]


def test_targets_are_tried():
    """The likelier wrong class draws every ascent towards light and never wins; the other wins in the dark."""
    mask = torch.zeros(16, 16)
    mask[:4, :4] = 1

    def model(x):
        light = x[:, :, :4, :4].mean((1, 2, 3))
        return torch.stack([torch.ones_like(light), 0.5 + 0.45 * light, 2 - 4 * light], 1)

    x, y = torch.full((1, 3, 16, 16), 0.5), torch.zeros(1, dtype=torch.int64)
    untargeted, towards_one, towards_both = (
        PatchRace(mask=mask, rungs=(Rung(1, 10, 1, targets),)).record(model, x, y) for targets in range(3)
    )
    assert untargeted.stage[0] == towards_one.stage[0] == STANDING
    assert towards_both.stage[0] == 0
    assert torch.equal(towards_both.adversarial[:, :, 4:], x[:, :, 4:])
    assert towards_both.box.tolist() == [[0, 4, 0, 4]]


@pytest.mark.parametrize("batch", [2**8, 2**11, 2**18], ids=str)
@pytest.mark.parametrize("held", [1, 2**26], ids=str)
def test_does_not_depend_on_companions_or_memory(batch, held, problem, monkeypatch):
    """A wave is bounded by the size of the images alone; how many are side by side changes nothing."""
    monkeypatch.setattr(module, "_WAVE", 8)
    monkeypatch.setattr(module, "_PIXELS", max(batch, 8 * 256))
    monkeypatch.setattr(module, "_HELD", held)
    net, images = copy.deepcopy(problem.net).double(), problem.images.double()
    attack = PatchRace(0.03, rungs=(Rung(20, 2), Rung(4, 5, 2, 1)))
    together = attack.record(net, images, problem.labels)
    alone = [attack.record(net, x[None], y[None]) for x, y in zip(images, problem.labels, strict=True)]
    for column, single in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(column, torch.cat(single))


def test_who_asks_again_pays_nothing(problem):
    """Attacks at the race's places share it within a record, and find what they find alone."""
    race = PatchRace(0.02, rungs=(Rung(20, 1), Rung(3, 2)))
    placed = BestLocation(PatchPGD(steps=2, stop=False), race=race, tries=2)
    seen = []

    def counted(x):
        seen.append(len(x))
        return problem.net(x)

    with Problem.of(problem.net, problem.images, problem.labels, gradients=1) as given:
        first, again = race.run(given), race.run(given.at(torch.tensor([5, 2])))
        assert (first.record.calls > 0).all()
        assert (again.record.calls == 0).all()
        assert torch.equal(again.places, first.places[[5, 2]])
        assert torch.equal(again.record.adversarial, first.record.adversarial[[5, 2]])
        assert (race.run(given.on(problem.net, given.clean)).record.calls > 0).all()  # another model, another race
    together = WorstOf([race, placed], stop=False).record(counted, problem.images, problem.labels)
    assert sum(seen) == int(together.calls.sum())
    alone = placed.record(problem.net, problem.images, problem.labels)
    assert (alone.box == race.grid(problem.images)[first.places[:, 0]]).all(1).any()


def test_bad_settings_raise(problem):
    for rungs in ((), (Rung(4, 1), Rung(5, 1))):
        with pytest.raises(ValueError, match="PatchRace rungs: expected at least one, with ever fewer places"):
            PatchRace(rungs=rungs)
    with pytest.raises(ValueError, match=re.escape("Rung places: expected from 1, got 0")):
        Rung(0, 1)
    with pytest.raises(ValueError, match="PatchRace across: expected from 2"):
        PatchRace(across=1)
    with pytest.raises(ValueError, match="under a mask it ranks no places"):
        BestLocation(PatchPGD(), race=PatchRace(mask=problem.mask))
