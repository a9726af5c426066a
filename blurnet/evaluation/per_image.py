"""Attacks on each image by itself, for ``Trainer.test``: sharded by image, exact on any number of processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from blurnet.data.loader import UnpaddedDistributedSampler
from blurnet.evaluation.identity import identity, modules_of
from blurnet.evaluation.judge import SingleAttack, judge, stages_of
from blurnet.evaluation.pool import Pool
from blurnet.evaluation.shards import ShardStore, ShardWork, content, joined
from blurnet.evaluation.threats import Threat
from blurnet.transforms.base import reset_transforms


class Point(NamedTuple):
    """A point on a curve of robust accuracy."""

    attack: str  #: name of the campaign that the curve varies
    axis: str  #: "area" (share of the image) or "steps"
    value: float


@dataclass(frozen=True)
class ImageCampaign:
    """One attack on every image of a pool.

    Args:
        name: short, part of file names: "lavan".
        attack: (model, images, labels) -> adversarial images; ``repr(attack)`` is its line in the report.
        threat: what it may change; each result is held against it.
        point: set where the campaign only draws a curve and takes no part in the worst case.
        at: the campaign's own place on such curves, as (axis, value).
    """

    name: str
    attack: SingleAttack
    threat: Threat
    point: Point | None = None
    at: tuple[tuple[str, float], ...] = ()

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The names of the attack's stages in order."""
        return stages_of(self.attack, self.name)


class Outcome(NamedTuple):
    """One finished campaign over the whole pool."""

    campaign: ImageCampaign
    work: ShardWork


class PerImage(pl.LightningModule):
    """Robust accuracy of a net, image by image.

    Jobs are shards of images under one campaign; a process takes whole shards, so any number of processes gives the
    same bytes. Only one shard of images is in memory at a time. Finished shards are kept under ``folder`` and not
    repeated; processes must all see that folder. Use with ``Trainer(use_distributed_sampler=False)``:

        trainer.test(per_image, dataloaders=per_image.job_loader(rank, world))

    Args:
        net: images in [0, 1] to logits, with one output for each of the pool's classes.
        pool: what is attacked.
        campaigns: the attacks, of different names.
        folder: output folder, existing.
        attacked: what attacks see in place of the net: its values with a surrogate's gradient; None: the net itself.
        keep: adversarial images of the first so many are kept, for galleries.

    Raises:
        TypeError, ValueError: names twice, keep below 0, or first images that do not fit the net.
    """

    def __init__(
        self,
        net: nn.Module,
        pool: Pool,
        campaigns: Sequence[ImageCampaign],
        folder: Path,
        *,
        attacked: nn.Module | None = None,
        keep: int = 12,
    ) -> None:
        super().__init__()
        self.net, self.attacked = net.eval(), (net if attacked is None else attacked).eval()
        self.pool, self.campaigns, self.keep = pool, tuple(campaigns), keep
        self.folder, self.store = Path(folder), ShardStore(Path(folder))
        if len({campaign.name for campaign in campaigns}) < len(self.campaigns):
            raise ValueError(f"campaigns need different names, got {[campaign.name for campaign in campaigns]}")
        if keep < 0:
            raise ValueError(f"keep: expected a number of images from 0, got {keep}")
        check_fit(net, pool, self.campaigns)
        shared = identity(net, self.attacked, pool.name, pool.indices, pool.shard, keep)
        keys = [identity(shared, c.name, repr(c.attack), c.attack, c.threat) for c in self.campaigns]
        self.names = [f"{c.name}-{key[:12]}" for c, key in zip(self.campaigns, keys, strict=True)]
        self.jobs = [(number, shard) for number in range(len(self.campaigns)) for shard in range(pool.shards)]
        # More processes than shards leave some without work.
        self.allow_zero_length_dataloader_with_multiple_devices = True

    def job_loader(self, rank: int = 0, world: int = 1) -> DataLoader[int]:
        """The shards that fall to one of ``world`` processes."""
        numbers = range(len(self.jobs))
        sampler = UnpaddedDistributedSampler(numbers, world, rank)
        return DataLoader(numbers, batch_size=None, sampler=sampler)  # type: ignore[arg-type]

    def test_dataloader(self) -> DataLoader[int]:
        """The jobs of this process, when ``Trainer.test`` is given no loaders."""
        return self.job_loader(self.trainer.global_rank, self.trainer.world_size)

    def test_step(self, batch: int, batch_idx: int) -> None:
        """Attack one shard under one campaign, unless that is done."""
        number, shard = self.jobs[batch]
        places = self.pool.places(shard)
        images, labels = self.pool.read(places)
        key = content(images, labels)
        if self.store.has(self.names[number], shard):
            self.store.load(self.names[number], shard, key)  # of these very images, and whole
        else:
            self.store.save(self.names[number], shard, self._attack(number, places, images, labels), key)

    def on_test_epoch_end(self) -> None:
        """Wait for the shards of the other processes."""
        self.trainer.strategy.barrier("per_image")

    def outcomes(self) -> tuple[Outcome, ...]:
        """Every campaign with its finished work, in order; memory for the numbers and the kept images only.

        Raises:
            FileNotFoundError: shards are missing: run ``trainer.test(per_image)`` first.
        """
        found = [self._load(name) for name in self.names]
        return tuple(Outcome(campaign, work) for campaign, work in zip(self.campaigns, found, strict=True))

    def _load(self, name: str) -> ShardWork:
        return joined([self.store.load(name, shard) for shard in range(self.pool.shards)])

    def _attack(self, number: int, places: range, images: Tensor, labels: Tensor) -> ShardWork:
        campaign = self.campaigns[number]
        held = modules_of(campaign.attack)
        for module in held:
            module.to(self.device).eval()
        # Random defenses begin anew, so that a shard does not depend on what its process did before.
        reset_transforms(self.attacked, *held)
        x, y = images.to(self.device), labels.to(self.device)
        try:
            work, adversarial = judge(self.net, self.attacked, campaign.attack, campaign.threat, x, y)
        except ValueError as error:
            raise ValueError(f"{campaign.name}, shard from image {places[0]} of {self.pool.name}: {error}") from error
        kept = adversarial[: max(self.keep - places[0], 0)]
        return work._replace(item=torch.tensor([self.pool.indices[place] for place in places]), kept=kept)


def check_fit(net: nn.Module, pool: Pool, campaigns: Sequence[ImageCampaign]) -> None:
    """Raise ValueError where net, images and threats do not fit together, judged on the pool's first image."""
    images, _ = pool.read([0])
    with torch.no_grad():
        logits = net(images.to(next(net.parameters(), images).device))
    if logits.ndim != 2 or logits.shape[1] != len(pool.classes):
        raise ValueError(f"the model gives {tuple(logits.shape)}, {pool.name} has {len(pool.classes)} classes")
    for campaign in campaigns:
        campaign.threat.broken(images, images)
