import dataclasses

import pytest
import safetensors.torch
import torch

from blurnet.attacks.engine.views import Resize, Rotation
from blurnet.evaluation.choices import choose_mask, match_classes, parse_eot, parse_targets, replay
from tests.evaluation.tiny_subject import CLASSES, tiny_victims


def test_targets():
    victims = tiny_victims()
    assert parse_targets("all", victims) == (0, 1, 3, 4, 5)
    assert parse_targets("untargeted", victims) == (None,)
    assert parse_targets("5,0", victims) == (5, 0)


def test_transformations():
    assert parse_eot("") == ()
    assert parse_eot("rotation=20,resize=0.5:1.5") == (Rotation(20.0), Resize(0.5, 1.5))


def test_labels_follow_their_names():
    turned = match_classes(tiny_victims(), tuple(reversed(CLASSES)))
    assert turned.labels.tolist() == [3] * 7
    assert turned.classes[3] == CLASSES[2]
    with pytest.raises(ValueError, match=r"has no class c of the victims \(tiny\)"):
        match_classes(tiny_victims(), ("a", "b"))


def test_noise_file(tmp_path):
    path, mask = tmp_path / "n.safetensors", choose_mask("stickers", tiny_victims())
    safetensors.torch.save_file({"noise_a": torch.zeros(3, 24, 24), "noise_b": torch.ones(3, 24, 24)}, path)
    with pytest.raises(ValueError, match="holds noise_a, noise_b"):
        replay(str(path), 1, mask)
    campaign = replay(f"{path}:noise_b", 1, mask)
    assert campaign.source_name == "n.safetensors:noise_b"
    images = tiny_victims().images
    found = campaign.attack.against(torch.nn.Identity(), images, tiny_victims().labels, (1,)).adversarial[0]
    # A larger noise of one colour, resized, saturates what the mask covers and nothing else.
    assert torch.equal(found, torch.where(mask.bool(), torch.ones(()), images))
    with pytest.raises(ValueError, match="NaN"):
        dataclasses.replace(campaign.attack, noise=torch.full((1, 3, 12, 12), float("nan")))
