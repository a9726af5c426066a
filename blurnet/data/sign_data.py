"""What every LightningDataModule here shares: loaders that resume exactly, augmentation of training batches."""

from abc import ABC, abstractmethod

import pytorch_lightning as pl
import torch

from blurnet.data.augment import augment
from blurnet.data.images import Split
from blurnet.data.loader import Batch, BatchLoader, Items
from blurnet.data.sampler import EpochShuffle, UnpaddedDistributedSampler
from blurnet.data.seeds import seed_from


class SignData(pl.LightningDataModule, ABC):
    """Loaders and training augmentation shared by every data set.

    Batches are (images (B, 3, S, S) float RGB in [0, 1], labels (B,)); nothing is normalised and, unless asked for,
    nothing is flipped. The order of an epoch depends on (seed, epoch), the augmentation of a batch on (seed, epoch,
    batch number, rank): a run that is killed and resumed sees the same batches. Evaluation counts every image once
    under any number of processes. Set ``use_distributed_sampler=False`` in the trainer, the samplers are here.

    Args:
        batch_size: images a batch and process.
        seed: of order and augmentation.
        brightness: training images are multiplied by a factor in [1 - brightness, 1 + brightness].
        shift: training images are moved by up to so many whole pixels on each axis, borders replicated.
        noise: standard deviation of Gaussian noise added to training images, in pixel units.
        crop: training images are cut to a random rectangle of at least this share of their area and scaled back;
            photos, as ImageNet's usual recipe has it, 0.08.
        flip: half of the training images are mirrored left to right; photos, not signs.
        num_workers: reading processes, for data that does not live in memory.

    Raises:
        ValueError: a size or a strength is out of range.
    """

    classes: tuple[str, ...]

    def __init__(
        self,
        batch_size: int = 128,
        seed: int = 0,
        brightness: float = 0.3,
        shift: int = 2,
        noise: float = 0.0,
        num_workers: int = 0,
        crop: float = 1.0,
        flip: bool = False,
    ) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True
        if batch_size < 1 or num_workers < 0 or shift < 0:
            raise ValueError(
                f"need batch_size >= 1, num_workers >= 0, shift >= 0; got {batch_size}, {num_workers}, {shift}"
            )
        if not 0 <= brightness <= 1 or noise < 0:
            raise ValueError(f"need brightness in [0, 1] and noise >= 0; got {brightness}, {noise}")
        if not 0 < crop <= 1:
            raise ValueError(f"crop: expected a share of the image's area in (0, 1], got {crop!r}")
        self.batch_size, self.seed, self.num_workers = batch_size, seed, num_workers
        self.brightness, self.shift, self.noise = brightness, shift, noise
        self.crop, self.flip = crop, flip
        self._splits: dict[Split, Items] = {}

    @abstractmethod
    def load(self, split: Split) -> Items:
        """Read one split; called once a split."""

    @property
    def num_classes(self) -> int:
        """Number of outputs a net needs for this data."""
        return len(self.classes)

    def split(self, split: Split) -> Items:
        """The data set of one split, kept after the first call."""
        if split not in self._splits:
            self._splits[split] = self.load(split)
        return self._splits[split]

    def setup(self, stage: str | None = None) -> None:
        """Read what a stage needs, so that bad data stops the run before any work."""
        needed: dict[str | None, tuple[Split, ...]] = {
            "fit": ("train", "val"),
            "validate": ("val",),
            "test": ("test",),
            "predict": ("test",),
        }
        for split in needed.get(stage, ("train", "val", "test")):
            self.split(split)

    def train_dataloader(self) -> BatchLoader:
        """Shuffled batches of the train split."""
        rank, world = self._place()
        sampler = EpochShuffle(self.split("train"), world, rank, self.seed)
        return self._loader("train", sampler)

    def val_dataloader(self) -> BatchLoader:
        """The val split in order, every image once."""
        return self._eval("val")

    def test_dataloader(self) -> BatchLoader:
        """The test split in order, every image once."""
        return self._eval("test")

    def predict_dataloader(self) -> BatchLoader:
        """The test split in order, every image once."""
        return self._eval("test")

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augment training batches on their device."""
        trainer = self.trainer
        if trainer is None or not trainer.training:
            return batch
        images, labels = batch
        # The loop counts a batch as ready after this hook, so the count is the number of this batch.
        number = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        key = seed_from("augment", self.seed, trainer.current_epoch, number, trainer.global_rank)
        generator = torch.Generator(images.device).manual_seed(key)
        strengths = (self.brightness, self.shift, self.noise, self.crop, self.flip)
        return augment(images, generator, *strengths), labels

    def _eval(self, split: Split) -> BatchLoader:
        rank, world = self._place()
        return self._loader(split, UnpaddedDistributedSampler(self.split(split), world, rank))

    def _loader(self, split: Split, sampler: EpochShuffle | UnpaddedDistributedSampler) -> BatchLoader:
        return BatchLoader(self.split(split), sampler, self.batch_size, self.num_workers, torch.cuda.is_available())

    def _place(self) -> tuple[int, int]:
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
