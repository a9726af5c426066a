"""LightningDataModules, one a data set, and the names the command line knows them by.

A module is a source of images with loaders that resume exactly and the augmentation of training batches; its settings
are the fields of both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch

from blurnet.bounds import Count, Fraction, NotNegative, Share, Steps
from blurnet.data.augment import augment
from blurnet.data.images import Fit, ImageTensors, Items, Split, side
from blurnet.data.labels import Outputs, label_names
from blurnet.data.loader import Batch, BatchLoader, EpochShuffle, UnpaddedDistributedSampler, seed_from
from blurnet.data.sources.base import Source
from blurnet.data.sources.folder import CsvImages, FolderImages
from blurnet.data.sources.gtsrb import Gtsrb
from blurnet.data.sources.lisa import LisaCrops, LisaFrames
from blurnet.data.synthetic.dataset import SyntheticSigns


@dataclass(eq=False, kw_only=True)
class SignData(Source, pl.LightningDataModule):
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

    batch_size: Count = 128
    seed: int = 0
    brightness: Fraction = 0.3
    shift: Steps = 2
    noise: NotNegative = 0.0
    num_workers: Steps = 0
    crop: Share = 1.0
    flip: bool = False

    def __post_init__(self) -> None:
        pl.LightningDataModule.__init__(self)
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self._splits: dict[Split, Items] = {}
        super().__post_init__()

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


@dataclass(eq=False)
class SyntheticData(SignData):
    """Rendered US signs, see :class:`SyntheticSigns`; needs no files.

    Args:
        train_size: images in the train split.
        val_size: images in the val split.
        test_size: images in the test split.
        outputs: 18 for labels counted from 1 (the RP2 authors' net), 17 for labels from 0.
        data_seed: which set of signs.
    """

    train_size: Count = 8500
    val_size: Count = 1700
    test_size: Count = 1700
    outputs: Outputs = 18
    data_seed: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in output order, see :func:`label_names`."""
        return label_names(self.outputs)

    def load(self, split: Split) -> ImageTensors:
        """Render one split into memory."""
        sizes = {"train": self.train_size, "val": self.val_size, "test": self.test_size}
        signs = SyntheticSigns(split, sizes[split], self.data_seed, self.image_size, self.outputs)
        return ImageTensors(*signs.tensors(), self.classes)


@dataclass(eq=False)
class LisaCropsData(LisaCrops, SignData):
    """A folder of LISA crops, see :class:`LisaCrops`; split by track."""


@dataclass(eq=False)
class LisaFramesData(LisaFrames, SignData):
    """The official LISA distribution, see :class:`LisaFrames`; split by track."""


@dataclass(eq=False)
class GtsrbData(Gtsrb, SignData):
    """German traffic signs, see :class:`Gtsrb`; split by track."""


@dataclass(eq=False)
class FolderData(FolderImages, SignData):
    """One subfolder a class, ImageNet's layout, see :class:`FolderImages`."""


@dataclass(eq=False)
class CsvData(CsvImages, SignData):
    """Images listed in a labels CSV, see :class:`CsvImages`."""


#: What ``get_data`` understands: name -> (datamodule, needs a folder).
DATA: dict[str, tuple[Callable[..., SignData], bool]] = {
    "synthetic": (SyntheticData, False),
    "lisa-crops": (LisaCropsData, True),
    "lisa": (LisaFramesData, True),
    "gtsrb": (GtsrbData, True),
    "folder": (FolderData, True),
    "csv": (CsvData, True),
}


def get_data(
    text: str, *, image_size: int | tuple[int, int] | None = None, fit: Fit | None = None, **options: Any
) -> SignData:
    """A datamodule from its command-line name: ``"synthetic"``, ``"lisa-crops:ROOT"``, ...

    For a trained net: ``get_data(text, image_size=net.image_size, fit=net.fit)``.

    Args:
        text: a name of :data:`DATA`, with ``:ROOT`` where the data lies in a folder.
        image_size: side in pixels, or (H, W) with both alike. None: the data's own default.
        fit: how images become square, where the data leaves the choice: folders and tables do, data sets of signs are
            always stretched. None: the data's own default.
        options: other arguments of the datamodule, such as ``batch_size=64``.

    Raises:
        ValueError: unknown name (the message lists what there is), a folder missing or superfluous, or images that are
            not square. Others as the datamodule does.
    """
    name, _, root = text.partition(":")
    known = [f"{key}:ROOT" if needs else key for key, (_, needs) in DATA.items()]
    if name not in DATA:
        raise ValueError(f"unknown data {text!r}; there is {', '.join(known)}")
    make, needs_root = DATA[name]
    if needs_root != bool(root):
        form = f"{name}:ROOT, with the folder after the colon" if needs_root else name
        raise ValueError(f"write {form}; got {text!r}")
    if image_size is not None:
        options["image_size"] = side(image_size)
    if fit is not None and make in (FolderData, CsvData):
        options["fit"] = fit
    return make(root, **options) if needs_root else make(**options)
