import csv
import zlib

import pytest
import torch
from PIL import Image

from blurnet.data.images import SPLITS
from blurnet.data.labels import LISA_CLASSES
from blurnet.data.sources.lisa import BOX_COLUMNS, FLAGS_COLUMN, LisaCrops, LisaFrames

NAMES = ("stop", "yield", "speedLimitUrdbl")
HEADER = [*BOX_COLUMNS, FLAGS_COLUMN, "Origin file", "Origin frame number", "Origin track", "Origin track frame number"]


def colour_of(track):
    """One colour a track, so that a pixel tells the track."""
    return tuple(zlib.crc32(track.encode()).to_bytes(4, "big")[:3])


@pytest.fixture
def crops(tmp_path):
    """Five tracks of three classes with two crops each; every second track is gray."""
    (tmp_path / "crops").mkdir()
    rows = []
    for name in NAMES:
        for t in range(5):
            track = f"vid0/cam.avi/{name}_{t}.avi"
            for frame in range(2):
                image = Image.new("RGB", (20 + t, 15), colour_of(track))
                file = f"{name}_{t}.avi_image{frame}.png"
                (image.convert("L") if t % 2 else image).save(tmp_path / "crops" / file)
                rows.append([file, name, track, frame, 20 + t, 15])
    write_crops(tmp_path, rows)
    return tmp_path


def write_crops(root, rows, header=("file", "class", "track", "frame", "width", "height")):
    with (root / "annotations.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def test_crops(crops):
    sets = {split: LisaCrops(crops).load(split) for split in SPLITS}
    assert sum(map(len, sets.values())) == 30
    held = [set(sets[split].groups) for split in SPLITS]
    assert len(held[0]) + len(held[1]) + len(held[2]) == 15 == len(held[0] | held[1] | held[2])
    for data in sets.values():
        assert data.classes[0] == "(unused)"
        assert {data.classes[i] for i in data.labels} == set(NAMES)
        image, label = data[0]
        assert image.shape == (3, 32, 32)
        assert image.dtype == torch.float32
        assert data.classes[label] in data.groups[0]


def test_gray_crops_become_rgb_and_colours_stay(crops):
    data = LisaCrops(crops).load("train")
    images, _ = data.tensors()
    for image, track in zip(images, data.groups, strict=True):
        colour = torch.tensor(colour_of(track)) / 255
        if int(track[-5]) % 2:
            assert torch.equal(image[0], image[1])
        else:
            assert torch.allclose(image, colour[:, None, None].expand(3, 32, 32))


def test_both_label_maps(crops):
    wide, dense = LisaCrops(crops, outputs=18).load("train"), LisaCrops(crops, outputs=17).load("train")
    assert torch.equal(wide.labels, dense.labels + 1)
    assert dense.classes == LISA_CLASSES
    assert wide.classes[14] == dense.classes[13] == "stop"


def test_splits_are_repeatable_and_seeded(crops):
    assert LisaCrops(crops).load("test").groups == LisaCrops(crops).load("test").groups
    assert any(
        LisaCrops(crops, split_seed=s).load("test").groups != LisaCrops(crops).load("test").groups for s in (1, 2, 3)
    )


@pytest.mark.parametrize("make", [LisaCrops, LisaFrames])
def test_bad_arguments(make, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        make(tmp_path / "gone").load("train")
    with pytest.raises(FileNotFoundError, match="nnotations"):
        make(tmp_path).load("train")
    with pytest.raises(ValueError, match="split: expected one of"):
        make(tmp_path).load("all")
    with pytest.raises(ValueError, match=r"outputs: expected one of \[17, 18\]"):
        make(tmp_path, outputs=16).load("train")


def test_bad_crop_tables(crops):
    write_crops(crops, [["a.png", "stop"]], ["file", "class"])
    with pytest.raises(ValueError, match=r"annotations\.csv: missing column \['track'\]"):
        LisaCrops(crops).load("train")
    write_crops(crops, [])
    with pytest.raises(ValueError, match="no rows"):
        LisaCrops(crops).load("train")
    write_crops(crops, [["a.png", "stopp", "t", 0, 1, 1]])
    with pytest.raises(ValueError, match=r"unknown classes \['stopp'\]"):
        LisaCrops(crops).load("train")
    write_crops(crops, [["gone.png", "stop", "t", 0, 1, 1]])
    with pytest.raises(FileNotFoundError, match=r"1 of 1 images are missing: .*gone\.png"):
        LisaCrops(crops).load("train")
    (crops / "crops" / "bad.png").write_bytes(b"\x89PNG\r\n")
    write_crops(crops, [["bad.png", "stop", "t", 0, 1, 1]])
    with pytest.raises(ValueError, match=r"bad\.png: not a readable image"):
        LisaCrops(crops).load("train")


def signs(names=(*NAMES, "doNotPass")):
    """Rows of two folders: (folder, frame file, tag, box, flags, video, track)."""
    for name in names:
        for t in range(4):
            folder = f"vid{t % 2}"
            yield (
                folder,
                f"{name}_{t}.avi_image0.png",
                name,
                (10, 5, 26, 21),
                f"{t % 2},{t // 3}",
                "cam.avi",
                f"{name}_{t}.avi",
            )


def frame_folder(folder):
    return f"{folder}/frameAnnotations-cam.avi_annotations"


@pytest.fixture
def frames(tmp_path):
    """The official layout: gray and colour frames, a sign of the track's colour at the box, green elsewhere."""
    rows = []
    for folder, file, tag, box, flags, video, track in signs():
        where = tmp_path / frame_folder(folder)
        where.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (64, 48), (0, 255, 0))
        image.paste(colour_of(track), box)
        (image.convert("L") if folder == "vid1" else image).save(where / file)
        rows.append([f"{frame_folder(folder)}/{file}", tag, *box, flags, f"{folder}/{video}", 7, track, 0])
    write_frames(tmp_path / "allAnnotations.csv", rows)
    return tmp_path


def write_frames(path, rows, header=HEADER):
    path.write_text("\n".join(";".join(map(str, row)) for row in [header, *rows]) + "\n")


def test_frames_are_cut_to_their_boxes(frames):
    sets = {split: LisaFrames(frames, image_size=16).load(split) for split in SPLITS}
    assert sum(map(len, sets.values())) == 12, "other signs are left out"
    for data in sets.values():
        for i, track in enumerate(data.groups):
            folder, video, clip = track.split("/")
            image, label = data[i]
            assert video == "cam.avi"
            assert data.classes[label] == clip.split("_")[0]
            if folder == "vid0":
                colour = torch.tensor(colour_of(clip)) / 255
                assert torch.allclose(image, colour[:, None, None].expand(3, 16, 16)), "no green: the box is exact"
            else:
                assert torch.equal(image[0], image[2])


def test_folder_tables_give_the_same(frames):
    whole = {split: LisaFrames(frames).load(split) for split in SPLITS}
    rows = {}
    for folder, file, tag, box, flags, video, track in signs():
        rows.setdefault(folder, []).append([file, tag, *box, flags, video, 7, track, 0])
    (frames / "allAnnotations.csv").unlink()
    for folder, lines in rows.items():
        write_frames(frames / frame_folder(folder) / "frameAnnotations.csv", lines)
    for split in SPLITS:
        parts = LisaFrames(frames).load(split)
        assert sorted(parts.groups) == sorted(whole[split].groups)
        assert parts.labels.sort().values.equal(whole[split].labels.sort().values)


def test_frames_and_crops_share_their_splits(frames):
    (frames / "crops").mkdir()
    rows = []
    for folder, file, tag, box, _, video, track in signs(NAMES):
        Image.open(frames / frame_folder(folder) / file).crop(box).save(frames / "crops" / file)
        rows.append([file, tag, f"{folder}/{video}/{track}", 0, 16, 16])
    write_crops(frames, rows)
    for split in SPLITS:
        a, b = LisaFrames(frames).load(split), LisaCrops(frames).load(split)
        assert a.groups == b.groups
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)


def test_flags_are_one_field(frames):
    everything = {t for s in SPLITS for t in LisaFrames(frames).load(s).groups}
    clear = {t for s in ("train",) for t in LisaFrames(frames, occluded=False).load(s).groups}
    assert clear == {t for t in LisaFrames(frames).load("train").groups if t.startswith("vid0")}
    assert clear < everything
    here = LisaFrames(frames, other_road=False).load("train").groups
    assert not any(t.endswith("_3.avi") for t in here)


def test_traffic_lights_are_refused(frames):
    light = [column for column in HEADER if column != FLAGS_COLUMN]
    write_frames(frames / "allAnnotations.csv", [["a.png", "go", 1, 1, 5, 5, "v", 0, "t", 0]], light)
    with pytest.raises(ValueError, match="LISA Traffic Light data set"):
        LisaFrames(frames).load("train")
    (frames / "allAnnotations.csv").unlink()
    (frames / "Annotations" / "dayTrain").mkdir(parents=True)
    write_frames(frames / "Annotations" / "dayTrain" / "frameAnnotationsBOX.csv", [], light)
    with pytest.raises(FileNotFoundError, match="LISA Traffic Light data set"):
        LisaFrames(frames).load("train")


def test_bad_frame_tables(frames):
    table = frames / "allAnnotations.csv"
    row = ["a.png", "stop", 1, 1, 5, 5, "0,0", "v", 0, "t", 0]
    write_frames(table, [row[:7] + row[8:]], HEADER[:7] + HEADER[8:])
    with pytest.raises(ValueError, match=r"missing column \['Origin file'\]"):
        LisaFrames(frames).load("train")
    write_frames(table, [row])
    with pytest.raises(FileNotFoundError, match=r"a\.png"):
        LisaFrames(frames).load("train")
    write_frames(table, [[*row[:6], "0", *row[7:]]])
    with pytest.raises(ValueError, match="line 2: malformed"):
        LisaFrames(frames).load("train")
    write_frames(table, [["a.png", "stop", "x", *row[3:]]])
    with pytest.raises(ValueError, match="line 2: malformed"):
        LisaFrames(frames).load("train")
    write_frames(table, [["a.png", "doNotPass", *row[2:]]])
    with pytest.raises(ValueError, match="none of the 17 classes"):
        LisaFrames(frames).load("train")


def test_the_real_crops(shared_data):
    sets = {split: LisaCrops(shared_data / "lisa-crops").load(split) for split in SPLITS}
    assert [len(sets[split]) for split in SPLITS] == [3495, 534, 1026]
    tracks = [set(sets[split].groups) for split in SPLITS]
    assert sum(map(len, tracks)) == 385 == len(tracks[0] | tracks[1] | tracks[2])
    for data in sets.values():
        assert {data.classes[i] for i in data.labels} == set(LISA_CLASSES), "every class is in every split"
        images, _ = data.tensors()
        assert 0 <= images.min() <= images.max() <= 1
