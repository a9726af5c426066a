import pytest
import torch

from blurnet.evaluation.images import Pool
from tests.evaluation.tiny_subject import CLASSES, Counted, tiny_pool


def test_a_limit_is_a_fixed_selection():
    small, large = tiny_pool(50, limit=5).indices, tiny_pool(50, limit=20).indices
    assert len(small) == 5
    assert set(small) < set(large) < set(range(50))
    assert tiny_pool(7, limit=9).indices == list(range(7))


def test_shards_cover_all_images_once():
    pool = tiny_pool(7, shard=3)
    assert pool.shards == 3
    assert [place for shard in range(pool.shards) for place in pool.places(shard)] == list(range(7))


def test_groups_follow_the_selection():
    pool = tiny_pool(50, limit=5)
    assert pool.groups == [f"track {index // 2}" for index in pool.indices]
    assert Pool([(torch.zeros(3, 2, 2), 0)], CLASSES, "x").groups is None
    wrong = Counted(4)
    wrong.groups = ["a"]
    with pytest.raises(ValueError, match="1 groups for 4 images"):
        Pool(wrong, CLASSES, "x")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tiny_pool(limit=0), "at least 1 image, got 0"),
        (lambda: tiny_pool(0), "no images"),
        (lambda: Pool([(torch.full((3, 2, 2), 2.0), 0)], CLASSES, "x").read([0]), r"x: expected pixels in \[0, 1\]"),
        (lambda: Pool([(torch.zeros(3, 2, 2), 6)], CLASSES, "x").read([0]), "labels of x: expected values"),
    ],
)
def test_bad_images(make, message):
    with pytest.raises(ValueError, match=message):
        make()
