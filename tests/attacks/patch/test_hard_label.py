"""The decision-based patch: answers alone, and no patch that needs its backdrop."""

import copy

import pytest
import torch
import torch.nn.functional as F

from blurnet.attacks.patch.hard_label import HardLabel
from blurnet.masks import Place, box_masks


def answers_only(net):
    """The same answers in logits that say nothing else."""
    return lambda x: F.one_hot(net(x).argmax(1), 5).to(x.dtype)


@pytest.mark.parametrize("attack", [HardLabel(0.15, steps=300), HardLabel(mask=Place(0.15), steps=300)], ids=repr)
def test_needs_answers_only(attack, problem):
    record = attack.record(answers_only(problem.net), problem.images, problem.labels)
    assert torch.equal(record.adversarial, attack(problem.net, problem.images, problem.labels))
    with torch.no_grad():
        fooled = problem.net(record.adversarial).argmax(1) != problem.labels
    assert torch.equal(record.stage == 0, fooled)
    assert fooled.float().mean() >= 0.75
    # What is returned is a patch on the clean image, without the backdrop.
    changed = (record.adversarial != problem.images).any(dim=1, keepdim=True)
    assert not (changed & ~box_masks((16, 16), record.box).bool()).any()


def test_beats_random_patches(problem):
    """As many queries, each an independent patch of the kind the search begins with, break fewer images."""
    place = Place(0.06, "border")
    found = HardLabel(mask=place, steps=200).record(problem.net, problem.images, problem.labels).stage == 0
    broken = torch.zeros(8, dtype=torch.bool)
    for seed in range(200):
        adversarial = HardLabel(mask=place, steps=0, seed=seed)(problem.net, problem.images, problem.labels)
        with torch.no_grad():
            broken |= problem.net(adversarial).argmax(1) != problem.labels
    assert found.sum() > broken.sum()


def test_companions_do_not_matter(problem):
    net, x, y = copy.deepcopy(problem.net).double(), problem.images.double(), problem.labels
    attack = HardLabel(0.1, steps=60)
    together = attack.record(net, x, y)
    for i in range(0, 8, 3):
        alone = attack.record(net, x[i : i + 1], y[i : i + 1])
        assert torch.equal(alone.adversarial[0], together.adversarial[i])
        assert (alone.calls[0], alone.stage[0]) == (together.calls[i], together.stage[i])


def test_calls_and_leaving(problem):
    sizes: list[int] = []

    def counted(x):
        sizes.append(len(x))
        return problem.net(x)

    record = HardLabel(0.15, steps=100).record(counted, problem.images, problem.labels)
    assert sum(sizes) == record.calls.sum()
    assert record.calls.max() <= 1 + 5 + 100
    assert sizes[-1] < 8


def test_no_backdrop_turns_a_constant_answer(problem):
    def constant(x):
        return F.one_hot(torch.ones(len(x), dtype=torch.int64), 5).float()

    ones = torch.ones_like(problem.labels)
    record = HardLabel(0.1, steps=5).record(constant, problem.images, ones)
    assert (record.stage == -1).all()
    assert (record.calls == 1 + 5 + 5).all()
    assert (record.adversarial != problem.images).any()


@pytest.mark.parametrize(
    "settings", [{"area": 2.0}, {"steps": -1}, {"share": 0.0}, {"move_every": 0}], ids=lambda s: next(iter(s))
)
def test_bad_settings_raise(settings):
    with pytest.raises(ValueError, match=f"HardLabel {next(iter(settings))}: expected"):
        HardLabel(**settings)
