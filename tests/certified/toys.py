"""Toy nets for 8x8 images, every patch of 2x2 on them, and the published algorithms as plain loops."""

import itertools
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE, PATCH, MASKS, FILL = 8, 2, 3, 0.5
POSITIONS = list(itertools.product(range(SIZE - PATCH + 1), repeat=2))


class Spiky(nn.Module):
    """A random net that a few pixels far from gray can sway: squares of random features, summed over the image."""

    def __init__(self, seed: int, classes: int = 4) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(12, 3, 2, 2, generator=draw), requires_grad=False)
        self.head = nn.Parameter(torch.randn(classes, 12, generator=draw), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(4 * (x - 0.5), self.weight).relu().square().sum((2, 3)) @ self.head.T


def random_net(seed: int) -> nn.Module:
    return Spiky(seed).eval()


def images_for(n: int, seed: int = 0) -> Tensor:
    """Smooth images (n, 3, 8, 8) in [0.2, 0.8]."""
    draw = torch.Generator().manual_seed(seed)
    return F.interpolate(0.2 + 0.6 * torch.rand(n, 3, 2, 2, generator=draw), (SIZE, SIZE), mode="bilinear")


class Worst(nn.Module):
    """The worst net for a defense: says what a patch tells it wherever it sees one, else 0 as long as it sees evidence.

    A patch is any pixel that is no multiple of 1/8; its largest such value in [0, 1) is the class times 1 / classes.
    Evidence is a pixel of 0.75; without it the answer is 1.
    """

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        strange = (8 * flat != (8 * flat).round()).float() * flat
        told = (strange.amax(1) * self.classes).long().clamp(max=self.classes - 1)
        own = torch.where((flat == 0.75).any(1), 0, 1)
        return F.one_hot(torch.where(strange.amax(1) > 0, told, own), self.classes).float()


def worst_images() -> Tensor:
    """Gray images with evidence in two or three places; their mean is exactly 0.5, a value that is no patch.

    In the first two only the pair of the first and the last mask hides all of it, in the others of three places no
    pair does.
    """
    three = itertools.combinations([(0, 0), (0, 7), (7, 0), (7, 7)], 3)
    places = [[(0, 0), (7, 7)], [(0, 1), (7, 6)], *map(list, three), [(0, 0), (0, 1)]]
    x = torch.full((len(places), 3, SIZE, SIZE), 0.5)
    for image, seen in zip(x, places, strict=True):
        for row, column in seen:
            image[:, row, column] = 0.75
        image[:, 5, 2 : 2 + len(seen)] = 0.25
    return x


def patches_for(n: int, seed: int = 1) -> Iterator[Tensor]:
    """Patches (3, 2, 2): of one value in the middle of what tells Worst each of 3 classes, then random ones."""
    draw = torch.Generator().manual_seed(seed)
    for value in (0.17, 0.47, 0.83):
        yield torch.full((3, PATCH, PATCH), value)
    for _ in range(n - 3):
        yield torch.rand(3, PATCH, PATCH, generator=draw).round()


def patched(images: Tensor, n: int) -> Tensor:
    """Each image with each of n patches at every place: (places * n, len, 3, 8, 8)."""
    found = []
    for (row, column), patch in itertools.product(POSITIONS, patches_for(n)):
        x = images.clone()
        x[..., row : row + PATCH, column : column + PATCH] = patch
        found.append(x)
    return torch.stack(found)


def plain_masks(size: int = SIZE, patch: int = PATCH, k: int = MASKS) -> list[tuple[slice, slice]]:
    """The masks of the paper, rectangle by rectangle."""
    step = -(-(size - patch + 1) // k)
    width = min(patch + step - 1, size)
    starts = sorted({*range(0, size - width, step), size - width})
    return [(slice(r, r + width), slice(c, c + width)) for r in starts for c in starts]


def plain_view(image: Tensor, *masks: tuple[slice, slice], fill: float = FILL) -> Tensor:
    """One image (3, H, W) under masks."""
    view = image.clone()
    for rows, columns in masks:
        view[:, rows, columns] = fill
    return view


def plain_answer(net: nn.Module, image: Tensor, masks: list[tuple[slice, slice]]) -> tuple[int, str]:
    """PatchCleanser's Algorithm 1 as it is written, one view at a time: the answer and the case that gave it."""
    votes = [int(net(plain_view(image, mask)[None]).argmax()) for mask in masks]
    majority = min(set(votes), key=lambda label: (-votes.count(label), label))
    if len(set(votes)) == 1:
        return majority, "I"
    for mask, vote in zip(masks, votes, strict=True):
        if vote != majority:
            second = [int(net(plain_view(image, mask, other)[None]).argmax()) for other in masks]
            if all(label == vote for label in second):
                return vote, "II"
    return majority, "III"


def plain_certified(net: nn.Module, image: Tensor, label: int, masks: list[tuple[slice, slice]]) -> bool:
    """Algorithm 2: every pair of masks, a mask with itself among them, leaves the label."""
    pairs = itertools.combinations_with_replacement(masks, 2)
    return all(int(net(plain_view(image, *pair)[None]).argmax()) == label for pair in pairs)
