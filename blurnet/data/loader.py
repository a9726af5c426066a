"""A loader of whole batches that goes on where a checkpoint in the middle of an epoch left it."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from blurnet.data.images import ImageFiles, ImageTensors
from blurnet.data.sampler import EpochShuffle, UnpaddedDistributedSampler

Items = ImageTensors | ImageFiles
Batch = tuple[Tensor, Tensor]


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
