"""The images that are attacked, read a shard at a time: memory does not grow with their number."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from blurnet.checks import check_images, check_labels


class Sized(Protocol):
    """A dataset with a length; an item is (image (3, H, W) float in [0, 1], label)."""

    def __len__(self) -> int:
        """Number of items."""

    def __getitem__(self, index: int, /) -> Any:
        """One item."""


class Pool:
    """A fixed selection of a dataset's images, cut into shards.

    Args:
        dataset: anything with a length whose items are (image (3, H, W) float in [0, 1], label); where it answers
            ``__getitems__(indices)`` with whole tensors, a shard is one such call. Its ``groups``, where it has any,
            name what each image belongs to (a track), for intervals.
        classes: names in output order.
        name: how reports call it.
        limit: at most so many images: the first of one seeded shuffle, so that a smaller limit is part of a larger
            one and no class is preferred; None takes all.
        shard: images attacked side by side in one batch, and lost at most when a run is killed.

    Raises:
        ValueError: an empty dataset, limit or shard below 1, or another number of groups than of images.
    """

    def __init__(
        self, dataset: Sized, classes: Sequence[str], name: str, limit: int | None = None, shard: int = 32
    ) -> None:
        if len(dataset) == 0:
            raise ValueError(f"{name}: no images")
        if shard < 1 or (limit is not None and limit < 1):
            raise ValueError(f"{name}: expected limit and shard of at least 1 image, got {limit} and {shard}")
        self.dataset, self.classes, self.name, self.shard = dataset, tuple(classes), name, shard
        self.indices = list(range(len(dataset)))
        if limit is not None and limit < len(dataset):
            order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))
            self.indices = sorted(order[:limit].tolist())
        self.groups = self._groups()

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def shards(self) -> int:
        """How many there are."""
        return -(-len(self) // self.shard)

    @property
    def group_count(self) -> int | None:
        """How many groups the selected images come in; None where the dataset does not say."""
        return None if self.groups is None else len(set(self.groups))

    def places(self, shard: int) -> range:
        """The positions, among the selected images, that a shard covers."""
        return range(shard * self.shard, min((shard + 1) * self.shard, len(self)))

    def read(self, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Images (n, 3, H, W) and labels (n,) at these positions.

        Raises:
            TypeError, ValueError: what the dataset gives are no such images or labels.
        """
        indices = [self.indices[place] for place in places]
        images, labels = read_items(self.dataset, indices, self.name)
        check_labels(labels, n=len(indices), classes=len(self.classes), name=f"labels of {self.name}")
        return images, labels

    def size(self) -> tuple[int, int]:
        """(H, W) of the first image; all have the same."""
        images, _ = self.read([0])
        return images.shape[-2], images.shape[-1]

    def _groups(self) -> list[str] | None:
        """What each selected image belongs to; None where the dataset does not say."""
        groups = getattr(self.dataset, "groups", None)
        if groups is None:
            return None
        if len(groups) != len(self.dataset):
            raise ValueError(f"{self.name}: {len(groups)} groups for {len(self.dataset)} images")
        return [str(groups[index]) for index in self.indices]


def read_items(dataset: Sized, indices: list[int], name: str = "images") -> tuple[Tensor, Tensor]:
    """Images (n, 3, H, W) and labels (n,) of a data set.

    Raises:
        TypeError, ValueError: what it gives are no such images.
    """
    fetch = getattr(dataset, "__getitems__", None)
    found = fetch(indices) if fetch is not None else [dataset[index] for index in indices]
    if not isinstance(found, tuple):
        found = torch.stack([item[0] for item in found]), torch.tensor([int(item[1]) for item in found])
    check_images(found[0], name=name)
    return found[0], found[1]
