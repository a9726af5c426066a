"""Target rules: what they choose, and that an image's batch has no say."""

import pytest
import torch

from blurnet.attacks.ball.pgd import PGD
from blurnet.attacks.engine.targets import RULES, Rank, choose_targets
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.balls import Ball

LOGITS = torch.tensor([[5.0, 1, 3, 0], [1, 5, 0, 4], [0, 9, 5, 2]])
LABELS = torch.tensor([0, 1, 0])


def pictures(n: int = 400) -> torch.Tensor:
    return torch.rand(n, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def test_untargeted():
    assert choose_targets(None, LOGITS, LABELS) is None


def test_rules_leave_the_label_out():
    """Of the third image the label has the lowest logit, so that the least likely wrong class is another."""
    assert choose_targets("second", LOGITS, LABELS).tolist() == [2, 3, 1]
    assert choose_targets("least-likely", LOGITS, LABELS).tolist() == [3, 2, 3]


def test_given_classes():
    assert choose_targets(3, LOGITS, LABELS).tolist() == [3, 3, 3]
    given = torch.tensor([1, 2, 3], dtype=torch.int32)
    chosen = choose_targets(given, LOGITS, LABELS)
    assert chosen.tolist() == [1, 2, 3]
    assert chosen.dtype == torch.int64


def test_random_is_any_wrong_class_equally_often():
    x, labels = pictures(), torch.arange(400) % 5
    logits = torch.zeros(400, 5)
    targets = choose_targets("random", logits, labels, images=x)
    assert not (targets == labels).any()
    counts = torch.bincount((targets - labels) % 5, minlength=5)
    assert counts[0] == 0
    assert (counts[1:] > 70).all()  # 100 each, deviation 8.7


def test_random_depends_on_image_and_seed_only():
    x, logits, labels = pictures(40), torch.zeros(40, 7), torch.arange(40) % 7
    together = choose_targets("random", logits, labels, images=x)
    turned = choose_targets("random", logits, labels.flip(0), images=x.flip(0)).flip(0)
    assert torch.equal(turned, together)
    alone = [choose_targets("random", logits[:1], y[None], images=i[None]) for i, y in zip(x, labels, strict=True)]
    assert torch.equal(torch.cat(alone), together)
    assert torch.equal(choose_targets("random", logits, labels, images=x.double()), together)
    assert not torch.equal(choose_targets("random", logits, labels, images=x, seed=1), together)


def test_random_needs_images():
    with pytest.raises(ValueError, match="pass images"):
        choose_targets("random", LOGITS, LABELS)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (4, "expected 0 to 3, got 4"),
        (-1, "expected 0 to 3, got -1"),
        (1, "1 is the true class of some images"),
        (torch.tensor([0, 0, 1]), r"\[0, 0, 1\] is the true class"),
        ("third", "'second', 'least-likely', 'random' or None, got 'third'"),
    ],
)
def test_bad_targets_raise(target, message):
    with pytest.raises(ValueError, match=f"^PGD target: .*{message}"):
        choose_targets(target, LOGITS, LABELS, name="PGD target")


def test_one_class_has_no_target():
    with pytest.raises(ValueError, match="at least 2 classes, got 1"):
        choose_targets("second", LOGITS[:, :1], LABELS * 0)


def test_settings_are_checked_before_any_call():
    for good in (*RULES, 0, 17, None):
        PGD(Ball("linf", 0.1), target=good)
    assert PatchPGD(target=Rank(2)).target == Rank(2)
    with pytest.raises(ValueError, match=r"PGD target: expected one of \['second'.*got 'third'"):
        PGD(Ball("linf", 0.1), target="third")
    for wrong in (True, 1.5, torch.tensor(1)):
        with pytest.raises((TypeError, ValueError), match="PGD target: expected"):
            PGD(Ball("linf", 0.1), target=wrong)
    with pytest.raises(ValueError, match="Rank k: expected from 1, got 0"):
        Rank(0)
