"""What a universal patch is trained on: endless batches from images in memory or from a loader."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from blurnet.attacks.engine.asking import at_least_float32
from blurnet.checks import check_images, check_labels

Batch = tuple[Tensor, Tensor]
Device = torch.device | str | None


def shuffled(images: Tensor, labels: Tensor, batch: int, seed: int) -> Iterator[Batch]:
    """Endless batches: all images, or where they are more than ``batch`` a new order in each round."""
    if len(images) <= batch:
        while True:
            yield images, labels
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(images), generator=generator).to(images.device)
        for first in range(0, len(order), batch):
            rows = order[first : first + batch]
            yield images[rows], labels[rows]


def rounds(
    loader: Iterable[Sequence[Tensor]], device: Device, check: Callable[[Tensor, Tensor], None]
) -> Iterator[Batch]:
    """A loader's batches on ``device``, checked, in float32 at least, round after round.

    Raises:
        TypeError, ValueError: a bad batch, or a loader that gives nothing any more.
    """
    while True:
        count = 0
        for batch in loader:
            images, labels = checked(batch, device)
            check(images, labels)
            count += 1
            yield at_least_float32(images), labels
        if count == 0:
            raise ValueError("AdversarialPatch: the loader is used up; give one that can be gone through again")


def first_batches(loader: Iterable[Sequence[Tensor]], device: Device, n: int) -> Batch:
    """The loader's first batches as one, as many as give n images or all there are.

    Raises:
        TypeError, ValueError: a bad batch, sizes that differ, or none.
    """
    batches: list[Batch] = []
    for batch in loader:
        batches.append(checked(batch, device))
        if sum(len(images) for images, _ in batches) >= n:
            break
    if not batches:
        raise ValueError("AdversarialPatch: the loader gives no batch")
    if len(sizes := {tuple(images.shape[-2:]) for images, _ in batches}) > 1:
        raise ValueError(f"AdversarialPatch images: expected one size in all batches, got {sorted(sizes)}")
    return torch.cat([images for images, _ in batches]), torch.cat([labels for _, labels in batches])


def checked(batch: Sequence[Tensor], device: Device) -> Batch:
    """Images and int64 labels of a batch, checked and copied (a backward pass may keep no inference tensor).

    Raises:
        TypeError, ValueError: no pair, or bad images or labels.
    """
    if not isinstance(batch, list | tuple) or len(batch) != 2:
        raise TypeError(f"AdversarialPatch: expected batches (images, labels), got {type(batch).__name__}")
    images, labels = batch
    check_images(images)
    check_labels(labels, n=len(images))
    where = images.device if device is None else device
    return images.detach().to(where, copy=True), labels.to(where, torch.int64, copy=True)
