"""The best-keeper: what beats what, and who has left."""

import torch

from blurnet.attacks.engine.best import Best, Keeper


def points(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1)


def test_share_counts_before_value_and_ties_change_nothing():
    keeper = Keeper(points(0, 0, 0), torch.zeros(1))
    keeper.offer(points(1, 1, 1), torch.tensor([0.5, 0, 1]), torch.tensor([1.0, 1, 1]))
    keeper.offer(points(2, 2, 2), torch.tensor([0.0, 0, 1]), torch.tensor([9.0, 2, 1]))
    assert keeper.all().x.flatten().tolist() == [1, 2, 1]
    assert keeper.all().value.tolist() == [1, 2, 1]


def test_an_answer_of_nan_is_no_success():
    keeper = Keeper(points(7, 7), torch.zeros(1))
    keeper.offer(points(1, 1), torch.tensor([1.0, 0]), torch.tensor([torch.nan, -5]))
    assert keeper.all().x.flatten().tolist() == [7, 1]
    two = Keeper(points(7), torch.zeros(1))
    two.offer(points(1, 2), torch.tensor([1.0, 0]), torch.tensor([torch.nan, -5]))  # two rows of one image
    assert two.all().x.flatten().tolist() == [2]


def test_each_image_has_the_best_of_its_rows():
    keeper = Keeper(points(0, 0), torch.zeros(1))
    keeper.offer(points(1, 2, 3, 4), torch.tensor([0.0, 1, 1, 1]), torch.tensor([9.0, 5, 2, 5]))
    assert keeper.all().x.flatten().tolist() == [3, 2]  # of equal rows the first


def test_images_that_leave_keep_what_they_had():
    keeper = Keeper(points(0, 0, 0, 0), torch.zeros(1))
    keeper.offer(points(1, 1, 1, 1), torch.ones(4), torch.ones(4))
    keeper.keep(torch.tensor([1, 3]))
    keeper.offer(points(2, 2), torch.ones(2), torch.tensor([5.0, 0]))
    keeper.keep(torch.tensor([1]))
    keeper.offer(points(3), torch.ones(1), torch.tensor([7.0]))
    assert keeper.all().x.flatten().tolist() == [1, 2, 1, 3]


def test_the_last_point_on_request():
    keeper = Keeper(points(0), torch.zeros(1), last=True)
    for number in (3, 1):
        keeper.offer(points(number), torch.ones(1), torch.tensor([float(number)]))
    assert keeper.all().x.flatten().tolist() == [1]


def test_what_has_won_may_stay():
    won, other = (Best(points(x), torch.ones(1), torch.tensor([float(x)])) for x in (1, 2))
    assert won.or_better(other).x.item() == 2
    assert won.or_better(other, keep_won=True).x.item() == 1
