"""Fakes for evaluation's bookkeeping: an attack that guesses, one that reports stages, a dataset that counts."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from blurnet.attacks.base import Attack, Problem, Record
from blurnet.evaluation.per_image import ImageCampaign, PerImage, Point
from blurnet.evaluation.pool import Pool
from blurnet.evaluation.threats import SquarePatch
from blurnet.masks import Place
from tests.evaluation.tiny_subject import CLASSES, tiny_net


@dataclass(frozen=True)
class Blot(Attack):
    """Random pixels in a square of each image's own place: the first of some tries that changes the answer."""

    area: float = 0.25
    tries: int = 3
    seed: int = 0

    def search(self, problem: Problem) -> Record:
        return problem.record(guess(self, problem.model, problem.images, problem.labels)[0])


@dataclass(frozen=True)
class Staged(Attack):
    """The same with a record: the first try is one stage, the others another."""

    blot: Blot

    @property
    def stage_names(self) -> tuple[str, ...]:
        return ("first", "rest")

    def search(self, problem: Problem) -> Record:
        images = problem.images
        adversarial, tries = guess(self.blot, problem.model, images, problem.labels)
        stage = torch.where(tries > self.blot.tries, -1, (tries > 1).long())
        boxes = Place(self.blot.area, "anywhere", self.blot.seed).boxes(images)
        return Record(adversarial, stage, tries.clamp(max=self.blot.tries), boxes)


def guess(blot: Blot, model, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Adversarial images and the number of the try that broke each, tries + 1 where none did."""
    mask = Place(blot.area, "anywhere", blot.seed).masks(images).bool()
    generator = torch.Generator().manual_seed(blot.seed)
    found, number = images.clone(), torch.full_like(labels, blot.tries + 1)
    for i in range(1, blot.tries + 1):
        tried = torch.where(mask, torch.rand(1, *images.shape[1:], generator=generator), images)
        new = (model(tried).argmax(1) != labels) & (number > blot.tries)
        found, number = torch.where(new.view(-1, 1, 1, 1), tried, found), torch.where(new, i, number)
    return found, number


class Counted:
    """Images made when asked for; ``most`` is how many were alive at once."""

    def __init__(self, n: int = 7) -> None:
        self.n, self.loads, self.most = n, 0, 0
        self.alive: list = []

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index):
        import weakref

        image = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(index))
        self.loads += 1
        self.alive = [ref for ref in self.alive if ref() is not None] + [weakref.ref(image)]
        self.most = max(self.most, len(self.alive))
        with torch.no_grad():
            label = int(tiny_net()(image[None]).argmax()) if index % 5 else index % 6
        return image, label


def tiny_pool(n: int = 7, shard: int = 2, limit: int | None = None) -> Pool:
    return Pool(Counted(n), CLASSES, "counted", limit, shard)


def campaigns(tries: int = 3) -> list[ImageCampaign]:
    """Two that count and one that only draws a curve."""
    blot, threat = Blot(tries=tries), SquarePatch(0.25)
    return [
        ImageCampaign("blot", blot, threat),
        ImageCampaign("staged", Staged(Blot(seed=1, tries=tries)), threat),
        ImageCampaign("blot, area 0.1", Blot(0.1, tries), SquarePatch(0.1), Point("blot", "area", 0.1)),
    ]


def per_image(folder, *, net: nn.Module | None = None, pool: Pool | None = None, **options) -> PerImage:
    return PerImage(net or tiny_net(), pool or tiny_pool(), campaigns(), folder, **options)


def labelled(net: nn.Module, n: int = 6) -> Pool:
    """Images with the labels that a net gives them."""
    images = Counted(n)
    items = [(images[i][0], int(net(images[i][0][None]).argmax())) for i in range(n)]
    return Pool(items, CLASSES, "labelled", shard=2)
