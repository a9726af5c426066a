"""Orders of items: seeded by (seed, epoch) for training, exact under several processes for evaluation."""

from collections.abc import Iterator, Sized

import torch
from torch.utils.data import DistributedSampler

from blurnet.data.seeds import seed_from


class UnpaddedDistributedSampler(DistributedSampler[int]):
    """Every item exactly once over all processes: rank r takes items r, r + world, r + 2 world, ...

    The stock sampler repeats items until every rank has as many, so that 7 images on 2 processes count as 8.
    With this one counts are exact; ranks may differ by one item, so reduce metrics at the end of the epoch,
    not in every step.

    Args:
        dataset: anything with a length.
        num_replicas: number of processes.
        rank: this process.
    """

    def __init__(self, dataset: Sized, num_replicas: int = 1, rank: int = 0) -> None:
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=False)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.rank, len(self.dataset), self.num_replicas))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(range(self.rank, len(self.dataset), self.num_replicas))  # type: ignore[arg-type]


class EpochShuffle(DistributedSampler[int]):
    """A permutation that depends on (seed, epoch) only, dealt out to the ranks.

    Training needs as many batches on every rank, so the last items are repeated from the front where the count
    does not divide (the padding is on the training side only).

    Args:
        dataset: anything with a length.
        num_replicas: number of processes.
        rank: this process.
        seed: which sequence of permutations.
    """

    def __init__(self, dataset: Sized, num_replicas: int = 1, rank: int = 0, seed: int = 0) -> None:
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, seed=seed)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(seed_from("shuffle", self.seed, self.epoch))
        order = torch.randperm(len(self.dataset), generator=generator)  # type: ignore[arg-type]
        order = order[torch.arange(self.total_size) % len(order)]
        return iter(order[self.rank :: self.num_replicas].tolist())
