import dataclasses

import pytest
import safetensors.torch
import torch

from blurnet.evaluation.noise import read_noise
from tests.evaluation.tiny_subject import MASK, victim_pool


def test_a_file_of_noise(tmp_path):
    path, (images, labels) = tmp_path / "n.safetensors", victim_pool().read(range(7))
    safetensors.torch.save_file({"noise_a": torch.zeros(3, 24, 24), "noise_b": torch.ones(3, 24, 24)}, path)
    with pytest.raises(ValueError, match="holds noise_a, noise_b"):
        read_noise(str(path), 1, MASK)
    noise = read_noise(f"{path}:noise_b", 1, MASK)
    assert noise.origin == "n.safetensors:noise_b"
    found = noise.against(torch.nn.Identity(), images, labels, (1,)).adversarial[0]
    # A larger noise of one colour, resized, saturates what the mask covers and nothing else.
    assert torch.equal(found, torch.where(MASK.bool(), torch.ones(()), images))
    with pytest.raises(ValueError, match="NaN"):
        dataclasses.replace(noise, noise=torch.full((1, 3, 12, 12), float("nan")))
    with pytest.raises(ValueError, match=r"must be \(1, 3, h, w\)"):
        dataclasses.replace(noise, noise=torch.zeros(2, 3, 12, 12))
