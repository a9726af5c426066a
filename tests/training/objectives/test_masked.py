"""Training on masked images: which masks, and what is minimised."""

import pytest
import torch
import torch.nn.functional as F

from blurnet.certified.mask_set import MaskSet
from blurnet.training.objectives.masked import MaskTraining
from tests.training.objectives.by_hand import numbers, value_of

MASKS = MaskSet.of(16, 4, 3).hidden()
SETTINGS = {"area": None, "patch": 4, "masks": 3}


def losses(net, images, labels, masks):
    """The loss of every image under every mask, (M, n)."""
    with torch.no_grad():
        return torch.stack(
            [F.cross_entropy(net(torch.where(mask, 0.5, images)), labels, reduction="none") for mask in masks]
        )


def test_greedy_masks_are_the_worst_one_after_the_other(net, batch):
    """With as many tries as masks each is tried; the second is the worst given the first."""
    images, labels = batch
    net.eval()
    masked = MaskTraining(**SETTINGS, tries=9).adversarial(net, images, labels, numbers())
    first = MASKS[losses(net, images, labels, MASKS).argmax(0)]
    one = torch.where(first[:, None], 0.5, images)
    second = MASKS[losses(net, one, labels, MASKS).argmax(0)]
    assert torch.equal(masked, torch.where(second[:, None], 0.5, one))
    single = MaskTraining(**SETTINGS, tries=9, count=1).adversarial(net, images, labels, numbers())
    assert torch.equal(single, one)


def test_few_tries_lie_between_random_and_all(net, batch):
    images, labels = batch
    net.eval()

    def harm(tries: int) -> float:
        made = MaskTraining(**SETTINGS, tries=tries, count=1)
        generator = numbers()
        pictures = [made.adversarial(net, images, labels, generator) for _ in range(40)]
        with torch.no_grad():
            return sum(float(F.cross_entropy(net(x), labels)) for x in pictures) / 40

    assert harm(1) < harm(3) < harm(9)


def test_random_masks_ask_nothing_and_differ(net, batch):
    images, labels = batch
    shown: list[int] = []
    net.register_forward_pre_hook(lambda _, inputs: shown.append(len(inputs[0])))
    made, generator = MaskTraining(**SETTINGS, tries=1), numbers()
    one, two = (made.adversarial(net, images, labels, generator) for _ in range(2))
    assert shown == []
    assert not torch.equal(one, two)
    assert torch.equal(one, made.adversarial(net, images, labels, numbers()))
    hidden = (one != images).any(1)
    pairs = [a | b for a in MASKS for b in MASKS]
    assert all(any(not bool((mine & ~pair).any()) for pair in pairs) for mine in hidden)


def test_clean_share_and_the_net_s_own_answers(net, batch):
    images, labels = batch
    objective = MaskTraining(**SETTINGS, tries=9, clean=0.25, distill=0.4)
    masked = objective.adversarial(net.eval(), images, labels, numbers())
    own = F.cross_entropy(net(masked), net(images).detach().softmax(1))
    mixed = 0.6 * F.cross_entropy(net(masked), labels) + 0.4 * own
    wanted = 0.25 * F.cross_entropy(net(images), labels) + 0.75 * mixed
    torch.testing.assert_close(value_of(objective, net, batch), wanted)


def test_with_distillation_alone_labels_only_choose_masks(net, batch):
    """With random masks the loss does not know them."""
    images, labels = batch
    objective = MaskTraining(**SETTINGS, tries=1, distill=1.0)
    other = (labels + 1) % 5
    assert torch.equal(value_of(objective, net, (images, labels)), value_of(objective, net, (images, other)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"area": 0.0}, "area: expected a share"),
        ({"patch": 3}, "give area, patch or mask_set, one of them"),
        ({"masks": 1}, "masks: expected from 2"),
        ({"count": 3}, "count: expected one of"),
        ({"tries": 0}, "tries: expected from 1"),
        ({"distill": 1.5}, "distill: expected in"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        MaskTraining(**settings)
