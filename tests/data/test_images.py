import numpy as np
import pytest
import torch
from PIL import Image

from blurnet.data.images import ImageFiles, ImageTensors, read_image, square


def save(path, array):
    Image.fromarray(array).save(path)
    return path


@pytest.fixture
def colour():
    return np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".ppm", ".bmp"])
def test_colour_files_are_read_as_they_are(tmp_path, colour, suffix):
    image = read_image(save(tmp_path / f"x{suffix}", colour))
    assert torch.equal(image, torch.from_numpy(colour).permute(2, 0, 1))


def test_gray_is_repeated(tmp_path, colour):
    image = read_image(save(tmp_path / "x.png", colour[..., 0]))
    assert image.shape == (3, 9, 7)
    assert torch.equal(image[0], image[1])
    assert torch.equal(image[0], image[2])


def test_sixteen_bit_gray_keeps_its_range(tmp_path):
    image = read_image(save(tmp_path / "x.png", np.array([[0, 257 * 100, 65535]], dtype=np.uint16)))
    assert image[0].tolist() == [[0, 100, 255]]


def test_transparency_is_dropped(tmp_path, colour):
    rgba = np.concatenate([colour, np.full((9, 7, 1), 3, np.uint8)], 2)
    assert torch.equal(read_image(save(tmp_path / "x.png", rgba)), torch.from_numpy(colour).permute(2, 0, 1))


def test_a_corrupt_image_is_named(tmp_path, colour):
    path = save(tmp_path / "half.png", colour)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"half\.png: not a readable image"):
        read_image(path)
    path.write_text("no image at all")
    with pytest.raises(ValueError, match=r"half\.png: not a readable image"):
        read_image(path)


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        read_image(tmp_path / "gone.png")


def test_square_leaves_the_right_size_alone_and_keeps_constants():
    image = torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8)
    assert torch.equal(square(image, 8), image)
    assert square(torch.full((3, 50, 20), 77, dtype=torch.uint8), 32).unique().tolist() == [77]


def test_square_is_the_antialiased_mean():
    image = torch.tensor([0, 200], dtype=torch.uint8).repeat(3, 64, 32)
    assert (square(image, 8)[:, 2:6, 2:6].float() - 100).abs().max() <= 2


def test_crop_keeps_the_aspect_and_the_centre():
    image = torch.zeros(3, 64, 128, dtype=torch.uint8)
    image[:, :, 64:] = 200
    cut = square(image, 56, "crop")
    assert cut.shape == (3, 56, 56)
    assert (cut[:, :, :26] == 0).all()
    assert (cut[:, :, 30:] == 200).all()


def test_files_and_their_tensors_agree(tmp_path, colour):
    paths = [save(tmp_path / f"{i}.png", np.roll(colour, i, 0)) for i in range(5)]
    files = ImageFiles(paths, [0, 1, 0, 1, 1], ["a", "b"], 6)
    memory = files.load()
    images, labels = files.__getitems__([4, 0])
    assert images.dtype == torch.float32
    assert labels.tolist() == [1, 0]
    assert torch.equal(memory.batch([4, 0])[0], images)
    assert torch.equal(memory[4][0], files[4][0])
    assert memory[4][1] == files[4][1] == 1
    assert torch.equal(files.tensors()[0], memory.tensors()[0])
    assert 0 <= images.min() <= images.max() <= 1


def test_boxes_cut_and_are_clipped_to_the_image(tmp_path, colour):
    path = save(tmp_path / "x.png", colour)
    whole = read_image(path)
    assert torch.equal(ImageFiles([path], [0], ["a"], 3, boxes=[(2, 5, 1, 4)]).read(0), whole[:, 2:5, 1:4])
    assert torch.equal(ImageFiles([path], [0], ["a"], 3, boxes=[(6, 12, 4, 9)]).read(0), whole[:, 6:9, 4:7])
    with pytest.raises(ValueError, match=r"x\.png: the box .* holds no pixel of the 9x7 image"):
        ImageFiles([path], [0], ["a"], 3, boxes=[(9, 12, 0, 3)]).read(0)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(0, 3, 2, 2), torch.zeros(0, dtype=torch.long), "at least one"),
        (torch.zeros(2, 3, 2, 2), torch.zeros(1, dtype=torch.long), "as many"),
        (torch.zeros(1, 3, 2, 2), torch.tensor([2]), "2 classes"),
    ],
)
def test_inconsistent_tensors_are_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        ImageTensors(images, labels, ["a", "b"])


def test_no_files_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        ImageFiles([], [], ["a"], 8)
