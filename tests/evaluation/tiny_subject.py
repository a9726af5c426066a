"""A tiny net, its images and fakes of attacks: evaluation is about bookkeeping, which needs no good model."""

import weakref
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from blurnet.attacks.base import Attack, Record
from blurnet.attacks.universal.rp2 import RP2
from blurnet.data.images import ImageTensors
from blurnet.data.sources.victims import Victims
from blurnet.evaluation.images import Pool
from blurnet.evaluation.jobs import Job, Point, universal_jobs
from blurnet.evaluation.run import Evaluation
from blurnet.evaluation.threats import InMask, SquarePatch
from blurnet.masks import Place

#: Lightning 2.6 on torch 2.15, and its advice for data that is in memory.
LIGHTNING = ("ignore:.*treespec, LeafSpec", "ignore:.*does not have many workers")
CLASSES = ("a", "b", "c", "d", "e", "f")
MASK = torch.zeros(1, 1, 12, 12)
MASK[..., 3:8, 4:9] = 1


def tiny_net(seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 25, len(CLASSES)))
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    return net.eval()


def tiny_victims(n: int = 7) -> Victims:
    """Images of class c."""
    images = torch.rand(n, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    return Victims(images, torch.full((n,), 2), {"stickers": MASK}, CLASSES, "tiny")


def victim_pool(n: int = 7) -> Pool:
    """The same, all in one shard."""
    victims = tiny_victims(n)
    return Pool(ImageTensors(victims.images, victims.labels, CLASSES), CLASSES, "tiny victims", shard=n)


def shared_jobs(targets=(0, 1, 3, 4, 5), victims: Pool | None = None, source=None, **settings) -> list[Job]:
    """RP2 against some targets."""
    attack = RP2(target=None, mask=MASK, **({"steps": 5, "lam": 0.002} | settings))
    victims = victims or victim_pool()
    name = None if source is None else "other"
    return universal_jobs("rp2", attack, victims, InMask("stickers", MASK), targets, source, name)


@dataclass(frozen=True)
class Blot(Attack):
    """Random pixels in a square of each image's own place: the first of some tries that changes the answer."""

    area: float = 0.25
    tries: int = 3
    seed: int = 0

    def search(self, problem):
        return problem.record(guess(self, problem.model, problem.images, problem.labels)[0])


@dataclass(frozen=True)
class Staged(Attack):
    """The same in two stages: the first try, and the others."""

    blot: Blot

    @property
    def stage_names(self):
        return "first", "rest"

    def search(self, problem):
        adversarial, tries = guess(self.blot, problem.model, problem.images, problem.labels)
        stage = torch.where(tries > self.blot.tries, -1, (tries > 1).long())
        boxes = Place(self.blot.area, "anywhere", self.blot.seed).boxes(problem.images)
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
    """Images made when asked for, two a track; ``most`` is how many were alive at once."""

    def __init__(self, n: int = 7) -> None:
        self.n, self.loads, self.most = n, 0, 0
        self.alive: list = []
        self.groups = [f"track {i // 2}" for i in range(n)]

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index):
        image = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(index))
        self.loads += 1
        self.alive = [ref for ref in self.alive if ref() is not None] + [weakref.ref(image)]
        self.most = max(self.most, len(self.alive))
        with torch.no_grad():
            label = int(tiny_net()(image[None]).argmax()) if index % 5 else index % 6
        return image, label


def tiny_pool(n: int = 7, shard: int = 2, limit: int | None = None) -> Pool:
    return Pool(Counted(n), CLASSES, "counted", limit, shard)


def labelled(net: nn.Module, n: int = 6) -> Pool:
    """Images with the labels that a net gives them."""
    images = Counted(n)
    items = [(images[i][0], int(net(images[i][0][None]).argmax())) for i in range(n)]
    return Pool(items, CLASSES, "labelled", shard=2)


def blot_jobs(pool: Pool | None = None, tries: int = 3) -> list[Job]:
    """Two attacks that count and one that only draws a curve."""
    pool, blot = pool or tiny_pool(), Blot(tries=tries)
    return [
        Job("blot", blot, pool, SquarePatch(0.25), at=(("area", 0.25),)),
        Job("staged", Staged(Blot(seed=1, tries=tries)), pool, SquarePatch(0.25)),
        Job("blot area 0.1", Blot(0.1, tries), pool, SquarePatch(0.1), point=Point("blot", "area", 0.1)),
    ]


def evaluation(folder: Path, jobs: list[Job] | None = None, net: nn.Module | None = None, **options) -> Evaluation:
    return Evaluation(net or tiny_net(), blot_jobs() if jobs is None else jobs, folder, **options)


def trainer(folder, **options) -> pl.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "barebones": False}
    quiet |= {"enable_model_summary": False, "use_distributed_sampler": False, "default_root_dir": folder}
    return pl.Trainer(accelerator="cpu", **quiet, **options)


def run(module: Evaluation) -> list:
    """Do everything; the records of each job."""
    trainer(module.folder).test(module, dataloaders=module.loader(), verbose=False)
    return [module.records(number) for number in range(len(module.jobs))]
