"""ImageNet-Patch as an input format, on a fake file in the real one."""

import gzip
import pickle
import re

import pytest
import torch
from safetensors.torch import save_file

from blurnet.attacks.universal.files import IMAGENET_PATCH_POSES, load_imagenet_patch


@pytest.fixture
def published(tmp_path):
    """As upstream: a compressed pickle of (patches on their canvas, targets, info)."""
    g = torch.Generator().manual_seed(0)
    patches = torch.zeros(10, 3, 224, 224)
    patches[:, :, 87:137, 87:137] = torch.rand(10, 3, 50, 50, generator=g)
    targets = torch.tensor([804, 513, 923, 954, 968, 878, 546, 585, 806, 487])
    path = tmp_path / "imagenet_patch.gz"
    with gzip.open(path, "wb") as file:
        pickle.dump((patches, targets, {"patch_size": 50}), file)
    return path, patches, targets


def test_the_pickle_is_refused_and_the_message_converts_it(published):
    path, patches, targets = published
    with pytest.raises(ValueError, match="looks like a pickle") as error:
        load_imagenet_patch(path)
    code = str(error.value).split(":\n", 1)[1]
    exec(code, {})
    loaded = load_imagenet_patch(path.with_suffix(".safetensors"))
    assert [patch.target for patch in loaded] == targets.tolist()
    for patch, canvas in zip(loaded, patches, strict=True):
        assert torch.equal(patch.pixels, canvas[:, 87:137, 87:137])
        assert repr(patch).startswith("Patch(50x50")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_weights_only_loading_does_not_read_it_either(published):
    """Why it is refused: safe loading knows no tensors inside a plain pickle."""
    with gzip.open(published[0]) as file, pytest.raises(pickle.UnpicklingError):
        torch.load(file, weights_only=True)


def converted(tmp_path, **changes):
    tensors = {"patches": torch.rand(10, 3, 50, 50), "targets": torch.arange(10), **changes}
    path = tmp_path / "imagenet_patch.safetensors"
    save_file({k: v for k, v in tensors.items() if v is not None}, path)
    return path


def test_they_are_put_on_images_as_published(tmp_path):
    patch = load_imagenet_patch(converted(tmp_path))[0]
    images = torch.rand(40, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    out = patch.apply(images, IMAGENET_PATCH_POSES)
    changed = (out != images).any(1)
    share = changed.flatten(1).float().mean(1)
    assert (share < 1.15 * 0.05).all()  # half-covered pixels at the edge count too
    assert (share > 0.45 * 0.05).all()
    # The centre moves by a fifth of the image at most, and half a turned patch reaches 36 pixels.
    margin = round(224 * 0.3) - 36
    assert not changed[:, : margin - 1].any()
    assert not changed[..., -margin + 1 :].any()
    at_home = patch.apply(images[:1], type(IMAGENET_PATCH_POSES)(rotation=0, where=(0.5, 0.5)))
    torch.testing.assert_close(at_home[0, :, 87:137, 87:137], patch.pixels, atol=1e-4, rtol=0)


def test_rounding_beyond_the_range_is_clipped(tmp_path):
    path = converted(tmp_path, patches=torch.rand(3, 3, 50, 50) * 1.0005, targets=torch.ones(3).int())
    for patch in load_imagenet_patch(path):
        assert patch.pixels.min() >= 0
        assert patch.pixels.max() <= 1


BAD = {
    "other names": ({"patches": None, "weight": torch.rand(3)}, "expected the tensors 'patches' and 'targets'"),
    "size": ({"patches": torch.rand(10, 3, 60, 60)}, "patches: expected floats"),
    "shape": ({"patches": torch.rand(3, 50, 50)}, "patches: expected floats"),
    "scalar": ({"patches": torch.rand(())}, "patches: expected floats"),
    "none": ({"patches": torch.rand(0, 3, 50, 50), "targets": torch.arange(0)}, "patches: expected floats"),
    "bytes": ({"patches": torch.ones(10, 3, 50, 50).byte()}, "patches: expected floats"),
    "range": ({"patches": torch.rand(10, 3, 50, 50) * 255}, "expected pixels in"),
    "NaN": ({"patches": torch.full((10, 3, 50, 50), torch.nan)}, "expected pixels in"),
    "targets": ({"targets": torch.arange(9)}, "targets: expected 10 integers"),
    "float targets": ({"targets": torch.rand(10)}, "targets: expected 10 integers"),
    "negative targets": ({"targets": torch.arange(10) - 1}, "targets: expected classes from 0"),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD)
def test_other_content_raises(changes, message, tmp_path):
    path = converted(tmp_path, **changes)
    with pytest.raises(ValueError, match=re.escape(path.name) + ".*" + message):
        load_imagenet_patch(path)


def test_damaged_and_missing_files_raise(tmp_path):
    path = converted(tmp_path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load_imagenet_patch(path)
    with pytest.raises(FileNotFoundError, match="no such patch file"):
        load_imagenet_patch(tmp_path / "nothing.safetensors")
