"""The worst of several attacks: who goes on, what is kept, what it costs."""

from dataclasses import dataclass

import pytest
import torch

from blurnet.attacks.ball.pgd import PGD
from blurnet.attacks.base import Attack, Record
from blurnet.attacks.engine.losses import margin
from blurnet.attacks.patch.lavan import LaVAN
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.attacks.patch.random_search import PatchRandomSearch
from blurnet.attacks.wrappers.model import EOT
from blurnet.attacks.wrappers.worst_of import WorstOf
from blurnet.balls import Ball


@dataclass(frozen=True)
class Fixed(Attack):
    """The given adversarial image for each clean one, found by content; notes what it was asked for."""

    clean: torch.Tensor
    answer: torch.Tensor
    seen: list

    def search(self, problem):
        number = [(self.clean - x).abs().flatten(1).sum(1).argmin().item() for x in problem.images]
        self.seen.append(number)
        return Record(self.answer[number], problem.labels * 0, problem.average_calls(), problem.no_box())


@pytest.fixture
def stages(problem):
    """Three attacks: breaks 0-2, breaks 2-5, breaks none but comes close."""
    broken = PGD(Ball("linf", 0.3), steps=20)(problem.net, problem.images, problem.labels)
    near = PGD(Ball("linf", 0.01), steps=5, stop=False)(problem.net, problem.images, problem.labels)
    x = problem.images
    answers = [torch.cat([broken[:3], x[3:]]), torch.cat([x[:2], broken[2:6], x[6:]]), near]
    return [Fixed(x, answer, []) for answer in answers], broken, near


def test_only_standing_images_go_on(problem, stages):
    attacks, broken, near = stages
    worst = WorstOf(attacks)
    record = worst.record(problem.net, problem.images, problem.labels)
    assert [a.seen for a in attacks] == [[[0, 1, 2, 3, 4, 5, 6, 7]], [[3, 4, 5, 6, 7]], [[6, 7]]]
    assert record.stage.tolist() == [0, 0, 0, 1, 1, 1, -1, -1]
    assert torch.equal(record.adversarial, torch.cat([broken[:6], near[6:]]))
    assert worst.stage_names == ("Fixed", "Fixed 2", "Fixed 3")
    assert (record.box == -1).all()
    # One clean look, and for each stage one at what it made: the stages here look at nothing.
    assert record.calls.tolist() == [2, 2, 2, 3, 3, 3, 4, 4]


def test_all_attacks_see_all_images_without_stop(problem, stages):
    attacks, *_ = stages
    record = WorstOf(attacks, stop=False).record(problem.net, problem.images, problem.labels)
    assert [len(a.seen[0]) for a in attacks] == [8, 8, 8]
    assert record.stage.tolist() == [0, 0, 0, 1, 1, 1, -1, -1]
    with torch.no_grad():
        margins = torch.stack([margin(problem.net(a.answer), problem.labels) for a in attacks])
        assert torch.equal(margin(problem.net(record.adversarial), problem.labels), margins.amin(0))


def test_never_weaker_than_one_of_its_attacks(problem):
    attacks = [LaVAN("second", problem.mask, steps=4), PatchRandomSearch(mask=problem.mask, steps=10)]
    attacks += [PatchPGD(problem.mask, steps=3, target="random")]
    broken = [problem.net(a(problem.net, problem.images, problem.labels)).argmax(1) != problem.labels for a in attacks]
    together = problem.net(WorstOf(attacks)(problem.net, problem.images, problem.labels)).argmax(1) != problem.labels
    assert not broken[0].all()
    assert torch.equal(together, torch.stack(broken).any(0))


def test_wrong_images_are_left_alone(problem, stages):
    labels = problem.labels.clone()
    labels[1] = 0
    attacks, *_ = stages
    record = WorstOf(attacks).record(problem.net, problem.images, labels)
    assert record.stage[1] == -2
    assert torch.equal(record.adversarial[1], problem.images[1])
    assert record.calls[1] == 1
    assert 1 not in attacks[0].seen[0]


def test_masks_of_their_own_follow_the_images(problem):
    masks = torch.zeros(8, 1, 16, 16)
    for i in range(8):
        masks[i, 0, i : i + 6, i : i + 7] = 1
    weak = PatchPGD(masks, steps=2, start="image", optimizer="sign", lr=0.1)
    attacks = [weak, EOT(LaVAN(None, masks, steps=1), 1), WorstOf([PatchPGD(masks, steps=20)])]
    record = WorstOf(attacks).record(problem.net, problem.images, problem.labels)
    assert len(set(record.stage.tolist())) > 1  # a later stage saw some of the images
    changed = (record.adversarial != problem.images).any(dim=1, keepdim=True)
    assert not (changed & (masks == 0)).any()
    assert record.box[2].tolist() == [2, 8, 2, 9]


def test_nested_wrappers_have_names(problem):
    inner = EOT(LaVAN(0, problem.mask), 2)
    assert WorstOf([inner, WorstOf([inner])]).stage_names == ("EOT(LaVAN)", "WorstOf")
    assert repr(WorstOf([inner])) == f"WorstOf(attacks=({inner!r},), stop=True)"


def test_bad_settings_raise():
    with pytest.raises(ValueError, match="WorstOf attacks: none given"):
        WorstOf([])
    with pytest.raises(TypeError, match="expected an attack, got str"):
        WorstOf(["pgd"])
