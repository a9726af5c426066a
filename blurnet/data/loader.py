"""Batches in an order that depends on (seed, epoch) only, that go on where a checkpoint left them, and the seeds."""

import hashlib
from collections.abc import Iterator, Sized
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from blurnet.data.images import Items

Batch = tuple[Tensor, Tensor]


def seed_from(*parts: int | str) -> int:
    """A 63-bit seed for ``torch.Generator``, a pure function of ``parts`` on every machine."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


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


class BatchLoader:
    """Batches (images (B, 3, S, S) float in [0, 1], labels (B,)), the data set being asked for each as a whole.

    Images in memory cost one indexing operation a batch; files are read by ``num_workers`` processes. Lightning
    stores ``state_dict()`` in its checkpoints and hands it back before training resumes.

    Args:
        dataset: images in memory or in files.
        sampler: their order.
        batch_size: items a batch and process; the last batch may be smaller.
        num_workers: reading processes; 0 reads in this one.
        pin_memory: page-locked batches, for faster copies to a GPU.
    """

    def __init__(
        self,
        dataset: Items,
        sampler: EpochShuffle | UnpaddedDistributedSampler,
        batch_size: int,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.dataset, self.sampler, self.batch_size = dataset, sampler, batch_size
        self.num_workers, self.pin_memory = num_workers, pin_memory
        self.batch_sampler = None  # the trainer looks for it beside ``sampler``
        self._done = 0
        self._resume: dict[str, int] | None = None

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        # A generator body starts at the first batch, hence after the trainer has set the sampler's epoch.
        resume, self._resume = self._resume, None
        self._done = resume["batches"] if resume and resume["epoch"] == self.sampler.epoch else 0
        order = list(self.sampler)
        starts = range(self._done * self.batch_size, len(order), self.batch_size)
        for batch in self._read([order[start : start + self.batch_size] for start in starts]):
            self._done += 1
            yield batch

    def _read(self, batches: list[list[int]]) -> Iterator[Batch]:
        if self.num_workers == 0:
            for rows in batches:
                images, labels = self.dataset.__getitems__(rows)
                yield (images.pin_memory(), labels.pin_memory()) if self.pin_memory else (images, labels)
            return
        yield from DataLoader(
            self.dataset,
            batch_sampler=batches,
            num_workers=self.num_workers,
            collate_fn=_whole,
            pin_memory=self.pin_memory,
            generator=torch.Generator(),  # the default would draw from the global random state
        )

    def state_dict(self) -> dict[str, int]:
        """The epoch and the number of batches already given out in it."""
        return {"epoch": self.sampler.epoch, "batches": self._done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after ``state["batches"]`` batches, if the next epoch is ``state["epoch"]``."""
        self._resume = dict(state)


def _whole(batch: Any) -> Any:
    return batch
