import pytest
from PIL import Image

from blurnet.data.images import SPLITS
from blurnet.data.sources.folder import CsvImages, FolderImages


def fill(folder, n=3, colour=(255, 0, 0)):
    folder.mkdir(parents=True)
    for i in range(n):
        Image.new("RGB", (12, 10), colour).save(folder / f"{i}.jpg", quality=95)


def test_one_folder_is_split_by_file(tmp_path):
    for name in ("cat", "dog"):
        fill(tmp_path / name, 20)
    sets = [FolderImages(tmp_path, image_size=8).load(split) for split in SPLITS]
    assert [len(data) for data in sets] == [28, 4, 8]
    assert len({path for data in sets for path in data.paths}) == 40
    assert all(data.classes == ("cat", "dog") and set(data.labels) == {0, 1} for data in sets)
    assert len(FolderImages(tmp_path, image_size=8).load("all")) == 40


def test_folders_of_splits(tmp_path):
    for split, n in (("train", 4), ("val", 2)):
        for name in ("cat", "dog"):
            fill(tmp_path / split / name, n)
    assert [len(FolderImages(tmp_path).load(split)) for split in SPLITS] == [8, 4, 4]
    assert FolderImages(tmp_path).load("test").paths == FolderImages(tmp_path).load("val").paths
    fill(tmp_path / "test" / "cat", 1)
    fill(tmp_path / "test" / "dog", 1)
    assert len(FolderImages(tmp_path).load("test")) == 2
    assert len(FolderImages(tmp_path).load("all")) == 14
    image, label = FolderImages(tmp_path, image_size=16).load("test")[1]
    assert image.shape == (3, 16, 16)
    assert label == 1
    assert image[0].min() > 0.9


def test_bad_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        FolderImages(tmp_path / "gone").load("train")
    with pytest.raises(ValueError, match="empty; expected one subfolder a class"):
        FolderImages(tmp_path).load("train")
    (tmp_path / "cat").mkdir()
    with pytest.raises(ValueError, match="cat: no images"):
        FolderImages(tmp_path).load("train")
    with pytest.raises(ValueError, match="split: expected one of"):
        FolderImages(tmp_path).load("dev")
    fill(tmp_path / "train" / "dog")
    with pytest.raises(FileNotFoundError, match="val"):
        FolderImages(tmp_path).load("train")
    fill(tmp_path / "val" / "cat")
    with pytest.raises(ValueError, match=r"differ in classes: \['cat', 'dog'\]"):
        FolderImages(tmp_path).load("train")


def write_csv(root, rows, header="file,label"):
    (root / "labels.csv").write_text("\n".join([header, *rows]) + "\n")


@pytest.mark.parametrize("inside", ["", "images"])
def test_csv_with_numbers(tmp_path, inside):
    fill(tmp_path / "images" if inside else tmp_path / "x", 4)
    prefix = "" if inside else "x/"
    write_csv(tmp_path, [f"{prefix}{i}.jpg,{i * 2}" for i in range(4)])
    data = CsvImages(tmp_path, image_size=8).load("all")
    assert data.labels == [0, 2, 4, 6]
    assert data.classes == tuple("0123456")
    assert len(CsvImages(tmp_path, num_classes=10).load("all").classes) == 10
    with pytest.raises(ValueError, match="label 6 with num_classes=5"):
        CsvImages(tmp_path, num_classes=5).load("train")


def test_csv_with_names_and_tracks(tmp_path):
    fill(tmp_path / "images", 20)
    rows = [f"{i}.jpg,{'dog' if i % 2 else 'cat'},t{i // 4}" for i in range(20)]
    write_csv(tmp_path, rows, "file,label,track")
    sets = [CsvImages(tmp_path, track_column="track").load(split) for split in SPLITS]
    assert sum(map(len, sets)) == 20
    tracks = [{int(path.stem) // 4 for path in data.paths} for data in sets]
    assert sum(map(len, tracks)) == 5
    assert sets[0].classes == ("cat", "dog")
    assert all(data.labels == [int(path.stem) % 2 for path in data.paths] for data in sets)


def test_bad_csv(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"labels\.csv"):
        CsvImages(tmp_path).load("train")
    write_csv(tmp_path, [], "")
    with pytest.raises(ValueError, match=r"missing column \['file', 'label'\]"):
        CsvImages(tmp_path).load("train")
    write_csv(tmp_path, ["a.jpg,1"], "image,label")
    with pytest.raises(ValueError, match=r"missing column \['file'\]; the header has \['image', 'label'\]"):
        CsvImages(tmp_path).load("train")
    write_csv(tmp_path, ["a.jpg"])
    with pytest.raises(ValueError, match="line 2: the row has fewer fields"):
        CsvImages(tmp_path).load("train")
    write_csv(tmp_path, ["a.jpg,1", "b.jpg,0"])
    with pytest.raises(FileNotFoundError, match="2 of 2 images are missing"):
        CsvImages(tmp_path).load("train")
    write_csv(tmp_path, ["a.jpg,cat"])
    with pytest.raises(ValueError, match=r"1 class names .* num_classes=3"):
        CsvImages(tmp_path, num_classes=3).load("train")
