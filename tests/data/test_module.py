import csv
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from jsonargparse import ArgumentParser
from PIL import Image
from torch import nn

from blurnet.data.augment import augment
from blurnet.data.labels import GTSRB_CLASSES, LISA_OUTPUTS_18
from blurnet.data.loader import seed_from
from blurnet.data.module import DATA, CsvData, FolderData, LisaCropsData, SignData, SyntheticData, get_data

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec"),  # Lightning 2.6 on torch 2.15
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval"),
]


class Recorder(pl.LightningModule):
    """A linear net that keeps what it is shown."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(3 * 8 * 8, 18)
        nn.init.zeros_(self.net.weight)
        nn.init.zeros_(self.net.bias)
        self.train_seen, self.val_seen = [], []

    def training_step(self, batch, index):
        self.train_seen.append(tuple(t.clone() for t in batch))
        return nn.functional.cross_entropy(self.net(batch[0].flatten(1)), batch[1])

    def validation_step(self, batch, index):
        self.val_seen.append(tuple(t.clone() for t in batch))

    test_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.5)


class Stop(pl.Callback):
    """Saves and leaves after so many steps, as a kill would."""

    def __init__(self, steps, path):
        self.steps, self.path = steps, path

    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        if trainer.global_step == self.steps:
            trainer.save_checkpoint(self.path)
            raise KeyboardInterrupt


def trainer(folder, callbacks=(), epochs=2):
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        callbacks=list(callbacks),
    )


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    root = tmp_path_factory.mktemp("crops")
    (root / "crops").mkdir()
    generator = torch.Generator().manual_seed(0)
    rows = [("file", "class", "track")]
    for name in ("stop", "yield", "merge"):
        for t in range(10):
            for f in range(2):
                pixels = torch.randint(0, 256, (8, 8, 3), generator=generator, dtype=torch.uint8)
                Image.fromarray(pixels.numpy()).save(root / "crops" / f"{name}{t}{f}.png")
                rows.append((f"{name}{t}{f}.png", name, f"{name}{t}"))
    with (root / "annotations.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return root


def fit(crops, folder, **options):
    data = LisaCropsData(crops, image_size=8, batch_size=10, **options)
    module = Recorder()
    trainer(folder).fit(module, data)
    return data, module


def test_training_is_augmented_and_evaluation_is_not(crops, tmp_path):
    data, module = fit(crops, tmp_path, seed=4)
    images, labels = data.split("val").tensors()
    assert torch.equal(torch.cat([y for _, y in module.val_seen[:1]]), labels)
    assert torch.equal(torch.cat([x for x, _ in module.val_seen[:1]]), images)
    assert len(module.train_seen) == 2 * len(data.train_dataloader()) == 10
    loader = data.train_dataloader()
    loader.sampler.set_epoch(1)
    for number, (x, y) in enumerate(loader):
        shown, label = module.train_seen[5 + number]
        source = torch.Generator().manual_seed(seed_from("augment", 4, 1, number, 0))
        assert torch.equal(label, y)
        assert torch.equal(shown, augment(x, source))
        assert not torch.equal(shown, x)


def test_no_augmentation_on_request(crops, tmp_path):
    data, module = fit(crops, tmp_path, brightness=0, shift=0)
    shown = torch.cat([x for x, _ in module.train_seen[:5]]).flatten(1)
    stored = data.split("train").tensors()[0].flatten(1)
    assert torch.equal(shown[shown[:, 0].argsort()].sort(0).values, stored.sort(0).values)


def test_epochs_differ_and_runs_repeat(crops, tmp_path):
    first, second, other = (fit(crops, tmp_path, seed=s)[1].train_seen for s in (0, 0, 1))
    assert all(torch.equal(a, b) for x, y in zip(first, second, strict=True) for a, b in zip(x, y, strict=True))
    assert not torch.equal(first[0][0], first[5][0])
    assert not torch.equal(first[0][0], other[0][0])


@pytest.mark.parametrize("steps", [2, 5, 6])
def test_a_killed_run_resumes_to_the_same_batches_and_weights(crops, tmp_path, steps):
    _, whole = fit(crops, tmp_path, noise=0.1)
    make = lambda: LisaCropsData(crops, image_size=8, batch_size=10, noise=0.1)  # noqa: E731
    with pytest.raises(SystemExit):
        trainer(tmp_path, [Stop(steps, tmp_path / "k.ckpt")]).fit(Recorder(), make())
    resumed = Recorder()
    trainer(tmp_path).fit(resumed, make(), ckpt_path=tmp_path / "k.ckpt")
    assert len(resumed.train_seen) == 10 - steps
    for (a, _), (b, _) in zip(resumed.train_seen, whole.train_seen[steps:], strict=True):
        assert torch.equal(a, b)
    assert torch.equal(resumed.net.weight, whole.net.weight)


def test_test_stage_sees_every_image_once(crops, tmp_path):
    data, module = LisaCropsData(crops, image_size=8, batch_size=5), Recorder()
    trainer(tmp_path).test(module, data, verbose=False)
    images, labels = data.split("test").tensors()
    assert torch.equal(torch.cat([x for x, _ in module.val_seen]), images)
    assert torch.equal(torch.cat([y for _, y in module.val_seen]), labels)


def test_global_random_state_is_left_alone(crops, tmp_path):
    data = LisaCropsData(crops, image_size=8)
    state = torch.get_rng_state()
    data.setup("fit")
    list(data.train_dataloader())
    assert torch.equal(torch.get_rng_state(), state)


def test_synthetic():
    data = SyntheticData(train_size=34, val_size=17, test_size=18, batch_size=16)
    data.setup("fit")
    x, y = next(iter(data.train_dataloader()))
    assert x.shape == (16, 3, 32, 32)
    assert 0 <= x.min() <= x.max() <= 1
    assert y.min() >= 1
    assert [len(data.split(s)) for s in ("train", "val", "test")] == [34, 17, 18]
    assert data.classes == LISA_OUTPUTS_18
    assert len(data.classes) == 18


@pytest.mark.parametrize("in_memory", [False, True])
def test_folder_and_csv(tmp_path, in_memory):
    for name in ("cat", "dog"):
        (tmp_path / "x" / name).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (9, 9), (i, i, i)).save(tmp_path / "x" / name / f"{i}.png")
    folder = FolderData(tmp_path / "x", image_size=8, in_memory=in_memory, batch_size=4)
    assert folder.classes == ("cat", "dog")
    assert sum(len(y) for _, y in folder.train_dataloader()) == 14
    rows = [f"{name}/{i}.png,{name}" for name in folder.classes for i in range(10)]
    (tmp_path / "x" / "labels.csv").write_text("\n".join(["file,label", *rows]))
    table = CsvData(tmp_path / "x", image_size=8, in_memory=in_memory)
    assert table.classes == folder.classes
    assert len(table.split("train")) == 14
    assert len(CsvData(tmp_path / "x", whole=True).split("test")) == 20


def test_get_data(crops, tmp_path):
    assert isinstance(get_data("synthetic", batch_size=3), SyntheticData)
    data = get_data(f"lisa-crops:{crops}", batch_size=3, image_size=8)
    assert isinstance(data, LisaCropsData)
    assert data.batch_size == 3
    assert data.split("test").groups is not None
    assert get_data(f"gtsrb:{tmp_path}").classes == GTSRB_CLASSES
    assert get_data(f"lisa:{tmp_path}").classes == LISA_OUTPUTS_18


@pytest.mark.parametrize("name", DATA)
def test_size_and_fit_of_a_model_suit_every_data_set(name, tmp_path):
    (tmp_path / "labels.csv").write_text("file,label\na.png,0\n")
    (tmp_path / "cat").mkdir()
    text = f"{name}:{tmp_path}" if DATA[name][1] else name
    for fit in ("stretch", "crop"):
        data = get_data(text, image_size=(40, 40), fit=fit)
        assert data.image_size == 40
        assert data.fit == (fit if name in ("folder", "csv") else "stretch")
    assert get_data(text, image_size=24).image_size == 24
    with pytest.raises(ValueError, match="images are square here"):
        get_data(text, image_size=(32, 40))


def test_groups_are_tracks_where_the_data_knows_them(crops, tmp_path):
    data = LisaCropsData(crops, image_size=8)
    for split in ("train", "val", "test"):
        items = data.split(split)
        assert len(items.groups) == len(items) == 2 * len(set(items.groups))
        assert all(data.classes[label] in group for group, label in zip(items.groups, items.labels, strict=True))
    assert SyntheticData(test_size=17).split("test").groups is None
    for i in range(4):
        Image.new("RGB", (9, 9)).save(tmp_path / f"{i}.png")
    (tmp_path / "labels.csv").write_text("file,label,track\n" + "".join(f"{i}.png,0,{i // 2}\n" for i in range(4)))
    for in_memory in (False, True):
        table = CsvData(tmp_path, whole=True, in_memory=in_memory)
        assert table.split("test").groups is None
        table = CsvData(tmp_path, whole=True, track_column="track", in_memory=in_memory)
        assert table.split("test").groups == ("0", "0", "1", "1")


def test_unknown_data_lists_what_there_is():
    with pytest.raises(ValueError, match="there is synthetic, lisa-crops:ROOT, lisa:ROOT, gtsrb:ROOT"):
        get_data("cifar10")
    with pytest.raises(ValueError, match="with the folder after the colon"):
        get_data("lisa-crops")
    with pytest.raises(ValueError, match="write synthetic; got"):
        get_data("synthetic:/tmp")


def test_missing_data_stops_before_any_work(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        trainer(tmp_path).fit(Recorder(), LisaCropsData(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match="no such folder"):
        FolderData(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        CsvData(tmp_path / "gone")


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("batch_size", 0, ValueError),
        ("noise", -1.0, ValueError),
        ("brightness", 1.5, ValueError),
        ("shift", -1, ValueError),
        ("num_workers", -1, ValueError),
        ("crop", 0.0, ValueError),
        ("crop", float("nan"), ValueError),
        ("image_size", 0, ValueError),
        ("train_size", 0, ValueError),
        ("outputs", 16, ValueError),
        ("flip", 1, TypeError),
        ("batch_size", 2.0, TypeError),
    ],
)
def test_bad_options(name, value, error):
    with pytest.raises(error, match=f"SyntheticData {name}: expected"):
        SyntheticData(**{name: value})


@pytest.mark.parametrize("name", DATA)
def test_every_constructor_is_a_command_line(name):
    parser = ArgumentParser()
    parser.add_subclass_arguments(SignData, "data")
    maker, needs_root = DATA[name]
    arguments = ["--data", maker.__name__, "--data.noise", "0.1", "--data.seed", "7"]
    config = parser.parse_args([*arguments, *(["--data.root", str(Path.cwd())] if needs_root else [])])
    assert config.data.init_args.noise == 0.1
    assert config.data.init_args.seed == 7
