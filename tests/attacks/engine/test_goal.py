"""The goal as an object: which answers it asks for."""

import torch

from blurnet.attacks.engine.goal import Goal, confidence, strongest_wrong

LABELS, TARGETS = torch.tensor([0, 0, 0]), torch.tensor([2, 2, 2])
LOGITS = torch.tensor([[3.0, 1, 2], [1, 3, 2], [1, 2, 3]])  # the label, another class, the target


def test_what_is_reached():
    assert Goal(LABELS).reached(LOGITS).tolist() == [False, True, True]
    assert Goal(LABELS, TARGETS).reached(LOGITS).tolist() == [False, False, True]
    assert Goal(LABELS, TARGETS, "any").reached(LOGITS).tolist() == [False, True, True]
    assert Goal(LABELS, TARGETS).altered(LOGITS).tolist() == [False, True, True]


def test_a_lead_of_rounding_errors_is_not_clear():
    logits = torch.tensor([[3.0, 3.0 + 1e-5, 0], [3.0, 3.1, 0], [3.0, 2, 0]])
    goal = Goal(LABELS)
    assert goal.reached(logits).tolist() == [True, True, False]
    assert goal.clearly_reached(logits).tolist() == [False, True, False]
    assert goal.clearly_reached(100 * logits).tolist() == [False, True, False]


def test_the_margin_is_positive_where_the_goal_is_reached():
    for goal in (Goal(LABELS), Goal(LABELS, TARGETS)):
        assert torch.equal(goal.objective("margin", LOGITS) > 0, goal.reached(LOGITS))


def test_rows():
    goal = Goal(LABELS, torch.tensor([1, 2, 1]), "any")
    assert goal.at(torch.tensor([2, 1])).targets.tolist() == [1, 2]
    assert goal.repeat(2).targets.tolist() == [1, 2, 1, 1, 2, 1]
    assert (goal.repeat(2).wins, len(goal.repeat(2).labels)) == ("any", 6)
    assert Goal(LABELS).at(torch.tensor([1])).targets is None


def test_the_strongest_wrong_class_and_its_confidence():
    assert strongest_wrong(LOGITS, LABELS).tolist() == [2, 1, 2]
    wanted = torch.tensor([2.0, 3, 3]).exp() / sum(torch.tensor([1.0, 2, 3]).exp())
    torch.testing.assert_close(confidence(LOGITS, strongest_wrong(LOGITS, LABELS)), wanted)
