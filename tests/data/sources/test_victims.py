"""Victims by name: their labels, masks and size."""

import pytest
import torch

from blurnet.data.sources.rp2 import PUBLISHED_TARGET, STOP
from blurnet.data.sources.victims import Victims, load_victims
from blurnet.masks import rp2_stickers


def test_victims_of_a_clone(clone):
    victims = load_victims(f"rp2:{clone}")
    assert victims.images.shape == (4, 3, 32, 32)
    assert victims.labels.tolist() == [STOP] * 4
    assert victims.classes[STOP] == "stop"
    assert victims.classes[PUBLISHED_TARGET] == "speedLimit45"
    assert victims.masks.keys() == {"stickers", "octagon"}
    assert victims.name == "rp2"


def test_synthetic_victims():
    victims = load_victims("synthetic", n=5)
    assert victims.images.shape == (5, 3, 32, 32)
    assert victims.labels.tolist() == [STOP] * 5
    assert torch.equal(victims.masks["stickers"], rp2_stickers())


def test_victims_have_the_size_of_the_model(clone):
    victims = load_victims("synthetic", n=2, image_size=(48, 48))
    assert victims.images.shape == (2, 3, 48, 48)
    assert all(mask.shape[-2:] == (48, 48) for mask in victims.masks.values())
    assert torch.equal(load_victims(f"rp2:{clone}", image_size=(32, 32)).images, load_victims(f"rp2:{clone}").images)
    with pytest.raises(ValueError, match="are 32x32 pixels, the model takes 48"):
        load_victims(f"rp2:{clone}", image_size=48)
    with pytest.raises(ValueError, match="images are square here"):
        load_victims("synthetic", image_size=(32, 48))


@pytest.mark.parametrize("text", ["", "rp2", "rp2:", "synthetic:x", "lisa:/tmp"])
def test_unknown_victims(text):
    with pytest.raises(ValueError, match=r"there is synthetic and rp2:ROOT"):
        load_victims(text)


def test_labels_follow_the_names_of_the_model():
    victims = Victims(torch.rand(3, 3, 4, 4), torch.tensor([2, 0, 2]), {}, ("merge", "yield", "stop"), "three")
    other = victims.numbered_as(("stop", "school", "merge"))
    assert other.labels.tolist() == [0, 2, 0]
    assert other.classes == ("stop", "school", "merge")
    assert other.images is victims.images
    assert victims.numbered_as(victims.classes) is victims
    with pytest.raises(ValueError, match=r"no class merge of the victims \(three\)"):
        victims.numbered_as(("stop", "yield"))
