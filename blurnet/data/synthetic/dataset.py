"""The embedded default data: synthetic US traffic signs, each item a pure function of (seed, split, index)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from blurnet.checks import one_of
from blurnet.data.images import SPLITS, Split
from blurnet.data.labels import LISA_CLASSES, Outputs, label_names
from blurnet.data.synthetic.draws import keys
from blurnet.data.synthetic.scene import render

# Small enough that a batch's working set stays near the cache.
_CHUNK = 64


class SyntheticSigns(Dataset[tuple[Tensor, int]]):
    """The 17 LISA classes as rendered photographs, equally often: item i shows class i mod 17.

    Item i is (image, label): image float32 (3, image_size, image_size) in [0, 1], colour or gray; label an int in
    the order of ``classes``. It does not depend on ``size``, on the batch or on global random state, so a larger
    set starts with the smaller one.

    Args:
        split: "train", "val" or "test": disjoint random streams.
        size: number of items; None takes 8500, 1700 or 1700.
        seed: any int; another seed is another data set.
        image_size: width and height in pixels, at least 8.
        outputs: 18 for the authors' numbering (output 0 unused, stop = 14), 17 for the dense one (stop = 13).

    Raises:
        TypeError: size, seed or image_size is not an int.
        ValueError: unknown split, size below 1, image_size below 8, outputs other than 17 or 18.
    """

    def __init__(
        self,
        split: Split = "train",
        size: int | None = None,
        seed: int = 0,
        image_size: int = 32,
        outputs: Outputs = 18,
    ) -> None:
        one_of(split, Split, "split")
        size = (8500 if split == "train" else 1700) if size is None else size
        for name, value in (("size", size), ("seed", seed), ("image_size", image_size)):
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"{name} must be an int, got {value!r}")
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        if image_size < 8:
            raise ValueError(f"image_size must be at least 8 pixels, got {image_size}")
        self.classes = label_names(outputs)
        self.split, self.size, self.seed, self.image_size = split, size, seed, image_size
        self._first = len(self.classes) - len(LISA_CLASSES)

    def __len__(self) -> int:
        return self.size

    def _render(self, items: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        outside = [i for i in items if not -self.size <= i < self.size]
        if outside:
            raise IndexError(f"index {outside[0]} is outside a data set of {self.size} items")
        index = torch.tensor([i % self.size for i in items])
        classes = index % len(LISA_CLASSES)
        images, masks = render(keys(self.seed, SPLITS.index(self.split), index), classes, self.image_size)
        return images, classes + self._first, masks

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        images, labels, _ = self._render([index])
        return images[0], int(labels[0])

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, int]]:
        """Several items in one batched rendering; a DataLoader calls this by itself."""
        images, labels, _ = self._render(indices)
        return list(zip(images, labels.tolist(), strict=True))

    def mask(self, index: int) -> Tensor:
        """The sign's own pixels: (1, image_size, image_size) in {0, 1}, as if nothing stood in front of it."""
        return self._render([index])[2][0]

    def tensors(self, progress: bool = True) -> tuple[Tensor, Tensor]:
        """The whole data set in memory.

        Args:
            progress: show a bar when it takes longer than three seconds.

        Returns:
            images (N, 3, image_size, image_size) in [0, 1], labels int64 (N,).
        """
        images = torch.empty(self.size, 3, self.image_size, self.image_size)
        labels = torch.empty(self.size, dtype=torch.int64)
        bar = tqdm(range(0, self.size, _CHUNK), desc=f"render {self.split}", disable=not progress, delay=3, leave=False)
        for start in bar:
            stop = min(start + _CHUNK, self.size)
            images[start:stop], labels[start:stop], _ = self._render(range(start, stop))
        return images, labels
