import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from blurnet.data.labels import LISA_OUTPUTS_18
from blurnet.data.sources._tf_checkpoint import read_tf_checkpoint
from blurnet.data.sources.rp2 import (
    PUBLISHED_TARGET,
    RUNS,
    STOP,
    authors_weights,
    lisa_cnn_from_keras,
    printable_colours,
    published_noise,
    rp2_classes,
    rp2_mask,
    victim_images,
)
from blurnet.data.sources.victims import load_victims
from blurnet.masks import rp2_stickers
from blurnet.nets.lisa_cnn import LisaCNN
from tests.data.sources.keras import keras_variables


def test_a_clone_is_read_as_it_is(clone, state):
    images = victim_images(clone)
    assert (images[:, 0, 0, 0] * 255).tolist() == [1, 2, 10, 15], "numeric order"
    assert rp2_mask(clone).sum() == 30
    assert rp2_mask(clone, threshold=0).sum() == 31
    assert rp2_mask(clone, "octagon").shape == (1, 1, 32, 32)
    assert printable_colours(clone).tolist() == [pytest.approx([0.1, 0.2, 0.3]), [1, 0, 0.5]]
    assert rp2_classes(clone) == LISA_OUTPUTS_18
    weights = authors_weights(clone)
    assert weights.keys() == state.keys()
    assert all(torch.equal(weights[k], state[k]) for k in state)
    LisaCNN().load_state_dict(weights)
    for i, run in enumerate(RUNS):
        noise = np.random.default_rng(i).normal(size=(32, 32, 3)).astype(np.float32)
        assert torch.equal(published_noise(clone, run), torch.from_numpy(noise).permute(2, 0, 1))


def test_the_inner_folder_is_fine_too(clone):
    assert len(victim_images(clone / "lisa-cnn-attack")) == 4


def test_a_converted_folder(clone, state):
    root = clone / "lisa-cnn-attack"
    save_file(state, root / "lisa_cnn.safetensors")
    save_file({"noise_stickers": torch.ones(3, 32, 32)}, root / "published_noise.safetensors")
    assert all(torch.equal(v, state[k]) for k, v in authors_weights(clone).items())
    assert torch.equal(published_noise(clone), torch.ones(3, 32, 32))
    with pytest.raises(ValueError, match="noise_poster"):
        published_noise(clone, "poster")
    (root / "lisa_cnn.safetensors").write_bytes(b"12345678 half a file")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        authors_weights(clone)


def test_a_folder_without_victims(tmp_path, clone):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        victim_images(tmp_path / "gone")
    (tmp_path / "other").mkdir()
    with pytest.raises(FileNotFoundError, match="victim-set"):
        victim_images(tmp_path / "other")
    for path in (clone / "lisa-cnn-attack" / "victim-set").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="no victims"):
        victim_images(clone)


def test_bad_files_are_named(clone):
    root = clone / "lisa-cnn-attack"
    (root / "npstriplets.txt").write_text("0.1,red,0.3\n")
    with pytest.raises(ValueError, match=r"npstriplets\.txt"):
        printable_colours(clone)
    (root / "npstriplets.txt").write_text("0.1,2,0.3\n")
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        printable_colours(clone)
    (root / "mapping.txt").write_text("stop\nyield\n")
    with pytest.raises(ValueError, match="17 classes"):
        rp2_classes(clone)
    (root / "mapping.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"mapping\.txt"):
        rp2_classes(clone)
    Image.new("RGB", (16, 16)).save(root / "victim-set" / "2.png")
    with pytest.raises(ValueError, match=r"2\.png: \(3, 16, 16\)"):
        victim_images(clone)
    with pytest.raises(ValueError, match="no pixel"):
        rp2_mask(clone, threshold=1.0)
    with pytest.raises(ValueError, match=r"mask: expected one of \['stickers', 'octagon'\], got 'hat'"):
        rp2_mask(clone, "hat")
    with pytest.raises(ValueError, match=r"run: expected one of \['stickers', 'poster'\]"):
        published_noise(clone, "art")
    for path in root.rglob("*.index"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="no checkpoint of the stickers run"):
        authors_weights(clone)


def test_layer_numbers_do_not_matter_but_layers_do(state):
    variables = {k: torch.from_numpy(v) for k, v in keras_variables(state, first=4).items()}
    assert torch.equal(lisa_cnn_from_keras(variables)["fc.weight"], state["fc.weight"])
    del variables["dense_4_W"]
    with pytest.raises(ValueError, match="not the authors' LISA-CNN"):
        lisa_cnn_from_keras(variables)


def test_the_real_checkpoint_equals_the_converted_weights(shared_data):
    root = shared_data / "rp2-lisa"
    variables = read_tf_checkpoint(next((root / "upstream-checkpoint").glob("*.index")))
    converted, expected = lisa_cnn_from_keras(variables), load_file(root / "lisa_cnn.safetensors")
    assert converted.keys() == expected.keys()
    assert all(torch.equal(converted[k], expected[k]) for k in expected)
    assert torch.equal(variables["noise"].permute(2, 0, 1), published_noise(root))


@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_the_published_noise_alters_36_of_40(shared_data, threshold):
    root = shared_data / "rp2-lisa"
    victims = load_victims(f"rp2:{root}")
    assert victims.images.shape == (40, 3, 32, 32)
    assert torch.equal(victims.masks["stickers"], rp2_stickers())
    assert printable_colours(root).shape == (30, 3)
    net = LisaCNN().eval()
    net.load_state_dict(authors_weights(root))
    with torch.no_grad():
        assert (net(victims.images).argmax(1) == victims.labels).all()
        mask = rp2_mask(root, threshold=threshold)
        stickers = net((victims.images + mask * published_noise(root)).clamp(0, 1)).argmax(1)
        poster = victims.masks["octagon"] * published_noise(root, "poster")
        altered = net((victims.images + poster).clamp(0, 1)).argmax(1)
    assert (stickers == PUBLISHED_TARGET).sum() == 36 == (stickers != STOP).sum()
    assert (altered == PUBLISHED_TARGET).sum() == 40
