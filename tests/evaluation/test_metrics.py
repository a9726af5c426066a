import copy

import pytest
import torch

from blurnet.evaluation.metrics import Accuracy, AttackSuccess, Dissimilarity, TargetedSuccess, dissimilarity
from blurnet.rates import Rate


def test_accuracy_keeps_its_count(generator):
    metric, hits = Accuracy(5), 0
    for n in (4, 3):
        logits, labels = torch.randn(n, 5, generator=generator), torch.randint(5, (n,), generator=generator)
        metric.update(logits, labels)
        hits += int((logits.argmax(1) == labels).sum())
    assert metric.rate() == Rate.of(hits, 7)
    assert float(metric.compute()) == pytest.approx(hits / 7)
    metric.reset()
    assert metric.rate() is None


def test_any_change_of_label_is_a_success():
    metric = AttackSuccess()
    metric.update(torch.tensor([1, 1, 2, 3]), torch.tensor([1, 2, 1, 3]))
    assert metric.rates() == [Rate.of(2, 4)]
    assert metric.compute() == 0.5


def test_only_the_target_is_a_targeted_success():
    metric = TargetedSuccess()
    metric.update(torch.tensor([1, 2, 1, 3]), 1)
    assert metric.rates() == [Rate.of(2, 4)]


def test_groups_are_counted_apart():
    metric = AttackSuccess(groups=3)
    metric.update(torch.tensor([0, 0]), torch.tensor([0, 1]), 2)
    metric.update(torch.tensor([0, 0, 0]), torch.tensor([1, 1, 1]), 0)
    assert metric.rates() == [Rate.of(3, 3), None, Rate.of(1, 2)]
    with pytest.raises(ValueError, match=r"group must be in 0\.\.2, got 3"):
        metric.update(torch.tensor([0]), torch.tensor([0]), 3)


@pytest.mark.parametrize("denominator", ["adversarial", "clean"])
def test_dissimilarity_is_the_formula(generator, denominator):
    clean, adversarial = torch.rand(2, 5, 3, 6, 6, generator=generator)
    base = adversarial if denominator == "adversarial" else clean
    want = torch.stack(
        [((c - a) ** 2).sum().sqrt() / (b**2).sum().sqrt() for c, a, b in zip(clean, adversarial, base, strict=True)]
    )
    torch.testing.assert_close(dissimilarity(clean, adversarial, denominator), want)
    metric = Dissimilarity(denominator=denominator)
    metric.update(clean[:2], adversarial[:2])
    metric.update(clean[2:], adversarial[2:])
    torch.testing.assert_close(metric.compute(), want.double().mean())
    assert metric.sums()[0][1] == 5


def test_dissimilarity_of_the_same_image_is_zero():
    assert dissimilarity(torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4, 4)).tolist() == [0, 0]
    assert dissimilarity(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)).tolist() == [0]


def test_parts_of_two_processes_add_up_to_the_whole(generator):
    # What the reduction of the states must give: the sum of the parts, here 4 and 3 images.
    before, after = torch.randint(3, (2, 7), generator=generator)
    whole, first = AttackSuccess(), AttackSuccess()
    second = copy.deepcopy(first)
    whole.update(before, after)
    first.update(before[:4], after[:4])
    second.update(before[4:], after[4:])
    assert (first.total + second.total, first.n + second.n) == (whole.total, whole.n)
    assert all(function.__name__ == "dim_zero_sum" for function in whole._reductions.values())


def test_bad_input():
    with pytest.raises(ValueError, match="'adversarial' or 'clean', got 'l2'"):
        dissimilarity(torch.ones(1, 3, 2, 2), torch.ones(1, 3, 2, 2), "l2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shapes differ"):
        dissimilarity(torch.ones(1, 3, 2, 2), torch.ones(2, 3, 2, 2))
    with pytest.raises(ValueError, match="differ in shape"):
        AttackSuccess().update(torch.zeros(2), torch.zeros(3))
