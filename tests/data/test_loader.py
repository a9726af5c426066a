import pytest
import torch

from blurnet.data.images import ImageTensors
from blurnet.data.loader import BatchLoader, EpochShuffle, UnpaddedDistributedSampler


def numbered(n):
    """Image i is constant and has label i."""
    labels = torch.arange(n)
    return ImageTensors((labels / 255).view(n, 1, 1, 1).expand(n, 3, 2, 2).clone(), labels, [str(i) for i in range(n)])


@pytest.mark.parametrize("n", [1, 7, 8])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_unpadded_sampler_deals_every_item_once(n, world):
    parts = [UnpaddedDistributedSampler(range(n), world, rank) for rank in range(world)]
    assert sorted(i for part in parts for i in part) == list(range(n))
    assert [len(part) for part in parts] == [len(list(part)) for part in parts]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_shuffle_covers_everything_with_equal_parts(world):
    parts = [EpochShuffle(range(7), world, rank, seed=3) for rank in range(world)]
    dealt = [list(part) for part in parts]
    assert {len(part) for part in dealt} == {-(-7 // world)} == {len(part) for part in parts}
    assert {i for part in dealt for i in part} == set(range(7))


def test_shuffle_depends_on_seed_and_epoch_only():
    def order(seed, epoch):
        sampler = EpochShuffle(range(50), seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    state = torch.get_rng_state()
    assert order(0, 0) == order(0, 0)
    orders = [order(0, 0), order(0, 1), order(1, 0), order(1, 1)]
    assert len({tuple(o) for o in orders}) == 4
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_whole_and_in_order(workers):
    data = numbered(10)
    loader = BatchLoader(data, UnpaddedDistributedSampler(data), 4, workers)
    state = torch.get_rng_state()
    batches = list(loader)
    assert torch.equal(torch.get_rng_state(), state)
    assert [y.tolist() for _, y in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert all(x.shape[1:] == (3, 2, 2) and x.dtype == torch.float32 for x, _ in batches)
    assert len(loader) == 3


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_a_loader_goes_on_where_it_was(done):
    data = numbered(10)

    def loader():
        made = BatchLoader(data, EpochShuffle(data, seed=5), 4)
        made.sampler.set_epoch(2)
        return made

    first, iterator = loader(), None
    whole = [y.tolist() for _, y in loader()]
    iterator = iter(first)
    for _ in range(done):
        next(iterator)
    second = loader()
    second.load_state_dict(first.state_dict())
    assert [y.tolist() for _, y in second] == whole[done:]
    assert [y.tolist() for _, y in second] == whole, "only the first epoch after a resume is shortened"


def test_a_new_epoch_starts_at_its_beginning():
    data = numbered(10)
    loader = BatchLoader(data, EpochShuffle(data), 4)
    loader.load_state_dict({"epoch": 0, "batches": 2})
    loader.sampler.set_epoch(1)
    assert sum(len(y) for _, y in loader) == 10
