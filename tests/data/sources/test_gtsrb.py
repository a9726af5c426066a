import pytest
import torch
from PIL import Image

from blurnet.data.images import SPLITS
from blurnet.data.sources.gtsrb import Gtsrb

HEADER = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"


def write_class(folder, label, tracks=5, frames=3):
    """A class of the training set: 20 x 20 images, gray outside the region, coloured inside it."""
    where = folder / f"{label:05d}"
    where.mkdir(parents=True)
    lines = [HEADER]
    for t in range(tracks):
        for f in range(frames):
            file = f"{t:05d}_{f:05d}.ppm"
            image = Image.new("RGB", (20, 20), (128, 128, 128))
            image.paste((label * 5, t * 40, 255), (4, 5, 16, 17))
            image.save(where / file)
            lines.append(f"{file};20;20;4;5;15;16;{label}")
    (where / f"GT-{label:05d}.csv").write_text("\n".join(lines) + "\n")


def write_test(images, table, n=4):
    images.mkdir(parents=True)
    lines = [HEADER]
    for i in range(n):
        Image.new("RGB", (20, 20), (i, i, i)).save(images / f"{i:05d}.ppm")
        lines.append(f"{i:05d}.ppm;20;20;4;5;15;16;{i * 10}")
    table.write_text("\n".join(lines) + "\n")


@pytest.fixture
def full(tmp_path):
    for label in (0, 14, 42):
        write_class(tmp_path / "Final_Training" / "Images", label)
    write_test(tmp_path / "Final_Test" / "Images", tmp_path / "GT-final_test.csv")
    return tmp_path


@pytest.fixture
def vision(tmp_path):
    for label in (0, 14, 42):
        write_class(tmp_path / "gtsrb" / "GTSRB" / "Training", label)
    for label in range(43):  # torchvision numbers the folders it finds
        if label not in (0, 14, 42):
            write_class(tmp_path / "gtsrb" / "GTSRB" / "Training", label, 1, 1)
    write_test(tmp_path / "gtsrb" / "GTSRB" / "Final_Test" / "Images", tmp_path / "gtsrb" / "GT-final_test.csv")
    return tmp_path


def test_full_layout_with_the_official_test_set(full):
    train, val, test = (Gtsrb(full).load(split) for split in SPLITS)
    assert len(train) + len(val) == 45
    assert len(val) == 9
    assert test.labels.tolist() == [0, 10, 20, 30]
    assert not set(train.groups) & set(val.groups)
    assert train.classes[14] == "stop"
    assert train[0][0].shape == (3, 32, 32)


def test_full_layout_split_by_track(full):
    sets = [Gtsrb(full, test="tracks").load(split) for split in SPLITS]
    assert sum(map(len, sets)) == 45
    tracks = [set(data.groups) for data in sets]
    assert sum(map(len, tracks)) == 15 == len(tracks[0] | tracks[1] | tracks[2])
    assert all({0, 14, 42} == set(data.labels.tolist()) for data in sets)


def test_the_region_of_interest(full):
    data = Gtsrb(full, roi=True, image_size=12).load("train")
    for i, track in enumerate(data.groups):
        label, t = map(int, track.split("/"))
        colour = torch.tensor([label * 5, t * 40, 255]) / 255
        assert torch.allclose(data[i][0], colour[:, None, None].expand(3, 12, 12))
    whole = Gtsrb(full, image_size=20).load("train")[0][0]
    assert torch.allclose(whole[:, 0, 0], torch.full((3,), 128 / 255))


def test_torchvision_layout(vision):
    train, val, test = (Gtsrb(vision).load(split) for split in SPLITS)
    assert len(train) + len(val) == 45 + 40
    assert not set(train.groups) & set(val.groups)
    assert test.labels.tolist() == [0, 10, 20, 30]
    with pytest.raises(ValueError, match="without regions of interest"):
        Gtsrb(vision, roi=True).load("train")


def test_what_is_missing_is_said(tmp_path, full):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        Gtsrb(tmp_path / "gone").load("train")
    with pytest.raises(FileNotFoundError, match="neither Final_Training"):
        Gtsrb(tmp_path / "Final_Test").load("train")
    (full / "GT-final_test.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r'test="tracks"'):
        Gtsrb(full).load("test")
    with pytest.raises(ValueError, match="official"):
        Gtsrb(full, test="mine").load("train")
    (full / "Final_Training" / "Images" / "00014" / "00001_00001.ppm").write_bytes(b"P6 20 20")
    with pytest.raises(ValueError, match=r"00001_00001\.ppm: not a readable image"):
        [Gtsrb(full).load(split) for split in ("train", "val")]
    (full / "Final_Training" / "Images" / "00014" / "00001_00001.ppm").unlink()
    with pytest.raises(FileNotFoundError, match="images are missing"):
        [Gtsrb(full).load(split) for split in ("train", "val")]


def test_bad_tables(full):
    table = full / "Final_Training" / "Images" / "00014" / "GT-00014.csv"
    good = table.read_text()
    table.write_text(good.replace("Roi.X1", "Left"))
    with pytest.raises(ValueError, match=r"missing column \['Roi\.X1'\]"):
        Gtsrb(full).load("train")
    table.write_text(good.replace(";4;5;", ";x;5;"))
    with pytest.raises(ValueError, match="malformed region"):
        Gtsrb(full).load("train")
    table.write_text(good)
    table.parent.rename(table.parent.with_name("00043"))
    with pytest.raises(ValueError, match="unknown class '00043'"):
        Gtsrb(full).load("train")


def test_an_empty_training_folder(tmp_path):
    (tmp_path / "Final_Training" / "Images").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"GT-000XX\.csv"):
        Gtsrb(tmp_path).load("train")
