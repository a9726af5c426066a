"""LightningDataModules with typed constructors, one a data set; and the names the command line knows them by."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from blurnet.checks import check_folder
from blurnet.data.images import Fit, ImageTensors, Split
from blurnet.data.labels import GTSRB_CLASSES, label_names
from blurnet.data.loader import Items
from blurnet.data.sign_data import SignData
from blurnet.data.sources.folder import CsvImages, FolderImages, csv_classes, folder_classes
from blurnet.data.sources.gtsrb import Gtsrb, TestSet
from blurnet.data.sources.lisa import LisaCrops, LisaFrames, Outputs
from blurnet.data.synthetic.dataset import SyntheticSigns


class SyntheticData(SignData):
    """Rendered US signs, see :class:`SyntheticSigns`; needs no files.

    Args:
        train_size: images in the train split.
        val_size: images in the val split.
        test_size: images in the test split.
        outputs: 18 for labels counted from 1 (the RP2 authors' net), 17 for labels from 0.
        image_size: side in pixels.
        data_seed: which set of signs.
        options: see :class:`SignData`.
    """

    def __init__(
        self,
        train_size: int = 8500,
        val_size: int = 1700,
        test_size: int = 1700,
        outputs: Outputs = 18,
        image_size: int = 32,
        data_seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.sizes: dict[Split, int] = {"train": train_size, "val": val_size, "test": test_size}
        self.outputs, self.image_size, self.data_seed = outputs, image_size, data_seed
        self.classes = label_names(outputs)

    def load(self, split: Split) -> Items:
        """Render one split into memory."""
        signs = SyntheticSigns(split, self.sizes[split], self.data_seed, self.image_size, self.outputs)
        images, labels = signs.tensors()
        return ImageTensors(images, labels, self.classes)


class LisaCropsData(SignData):
    """A folder of LISA crops, see :class:`LisaCrops`; split by track.

    Args:
        root: folder with ``crops/`` and ``annotations.csv``.
        outputs: 18 for labels counted from 1 (the RP2 authors' net), 17 for labels from 0.
        image_size: side in pixels.
        split_seed: which split by track.
        options: see :class:`SignData`.
    """

    def __init__(
        self,
        root: str | Path,
        outputs: Outputs = 18,
        image_size: int = 32,
        split_seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root, self.outputs, self.image_size, self.split_seed = root, outputs, image_size, split_seed
        self.classes = label_names(outputs)

    def load(self, split: Split) -> Items:
        """Decode one split into memory."""
        return LisaCrops(self.root, split, self.outputs, self.image_size, self.split_seed)


class LisaFramesData(SignData):
    """The official LISA distribution, see :class:`LisaFrames`; split by track.

    Args:
        root: folder with ``allAnnotations.csv``.
        outputs: 18 for labels counted from 1 (the RP2 authors' net), 17 for labels from 0.
        image_size: side in pixels.
        split_seed: which split by track.
        occluded: keep signs marked as occluded.
        other_road: keep signs marked as standing on another road.
        options: see :class:`SignData`.
    """

    def __init__(
        self,
        root: str | Path,
        outputs: Outputs = 18,
        image_size: int = 32,
        split_seed: int = 0,
        occluded: bool = True,
        other_road: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root, self.outputs, self.image_size, self.split_seed = root, outputs, image_size, split_seed
        self.occluded, self.other_road = occluded, other_road
        self.classes = label_names(outputs)

    def load(self, split: Split) -> Items:
        """Cut one split out of the frames into memory."""
        keep = (self.occluded, self.other_road)
        return LisaFrames(self.root, split, self.outputs, self.image_size, self.split_seed, *keep)


class GtsrbData(SignData):
    """German traffic signs, see :class:`Gtsrb`; split by track.

    Args:
        root: folder with ``Final_Training/`` or torchvision's ``gtsrb/``.
        image_size: side in pixels.
        split_seed: which split by track.
        test: "official" for the official test set, "tracks" for held-out training tracks.
        roi: cut to the annotated region of interest.
        download: let torchvision fetch its layout into ``root``.
        options: see :class:`SignData`.
    """

    def __init__(
        self,
        root: str | Path,
        image_size: int = 32,
        split_seed: int = 0,
        test: TestSet = "official",
        roi: bool = False,
        download: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root, self.image_size, self.split_seed = root, image_size, split_seed
        self.test, self.roi, self.download = test, roi, download
        self.classes = GTSRB_CLASSES

    def prepare_data(self) -> None:
        """Download, if asked to, in one process only."""
        if self.download:
            Gtsrb(self.root, "test", self.image_size, download=True)

    def load(self, split: Split) -> Items:
        """Decode one split into memory."""
        return Gtsrb(self.root, split, self.image_size, self.split_seed, self.test, self.roi)


class FolderData(SignData):
    """One subfolder a class, ImageNet's layout, see :class:`FolderImages`.

    Args:
        root: the folder.
        image_size: side in pixels.
        fit: "crop" (photos) or "stretch" (signs).
        split_seed: which split, where the folder has no ``train/``.
        in_memory: decode each split once; otherwise files are read batch by batch (see ``num_workers``).
        options: see :class:`SignData`.
    """

    def __init__(
        self,
        root: str | Path,
        image_size: int = 224,
        fit: Fit = "crop",
        split_seed: int = 0,
        in_memory: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root, self.image_size, self.fit = root, image_size, fit
        self.split_seed, self.in_memory = split_seed, in_memory
        self.classes = folder_classes(check_folder(root, "image folder"))

    def load(self, split: Split) -> Items:
        """List one split, or decode it into memory."""
        files = FolderImages(self.root, split, self.image_size, self.fit, self.split_seed)
        return files.load() if self.in_memory else files


class CsvData(SignData):
    """Images listed in a labels CSV, see :class:`CsvImages`.

    Args:
        root: folder of the table and the images.
        csv: the table, relative to ``root``.
        image_column: column of the file names.
        label_column: column of the labels.
        track_column: rows with the same value stay in one split.
        num_classes: number of classes, where the labels are numbers and the largest may be absent.
        image_size: side in pixels.
        fit: "crop" (photos) or "stretch" (signs).
        split_seed: which split.
        whole: every split is the whole table (to evaluate a net that was trained elsewhere).
        in_memory: decode each split once; otherwise files are read batch by batch (see ``num_workers``).
        options: see :class:`SignData`.
    """

    def __init__(
        self,
        root: str | Path,
        csv: str = "labels.csv",
        image_column: str = "file",
        label_column: str = "label",
        track_column: str | None = None,
        num_classes: int | None = None,
        image_size: int = 224,
        fit: Fit = "crop",
        split_seed: int = 0,
        whole: bool = False,
        in_memory: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.whole, self.in_memory = whole, in_memory
        self.read = partial(
            CsvImages,
            root,
            csv,
            image_column,
            label_column,
            track_column=track_column,
            num_classes=num_classes,
            image_size=image_size,
            fit=fit,
            seed=split_seed,
        )
        self.classes = csv_classes(Path(root), csv, label_column, num_classes)

    def load(self, split: Split) -> Items:
        """List one split, or decode it into memory."""
        files = self.read(split="all" if self.whole else split)
        return files.load() if self.in_memory else files


#: What ``get_data`` understands: name -> (datamodule, needs a folder).
DATA: dict[str, tuple[Callable[..., SignData], bool]] = {
    "synthetic": (SyntheticData, False),
    "lisa-crops": (LisaCropsData, True),
    "lisa": (LisaFramesData, True),
    "gtsrb": (GtsrbData, True),
    "folder": (FolderData, True),
    "csv": (CsvData, True),
}


def get_data(text: str, **options: Any) -> SignData:
    """A datamodule from its command-line name: ``"synthetic"``, ``"lisa-crops:ROOT"``, ...

    Args:
        text: a name of :data:`DATA`, with ``:ROOT`` where the data lies in a folder.
        options: arguments of the datamodule, such as ``batch_size=64``.

    Raises:
        ValueError: unknown name (the message lists what there is), or a folder missing or superfluous.
    """
    name, _, root = text.partition(":")
    known = [f"{key}:ROOT" if needs else key for key, (_, needs) in DATA.items()]
    if name not in DATA:
        raise ValueError(f"unknown data {text!r}; there is {', '.join(known)}")
    make, needs_root = DATA[name]
    if needs_root != bool(root):
        form = f"{name}:ROOT, with the folder after the colon" if needs_root else name
        raise ValueError(f"write {form}; got {text!r}")
    return make(root, **options) if needs_root else make(**options)
