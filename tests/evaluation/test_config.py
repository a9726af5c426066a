import pytest
import torch

from blurnet.attacks.engine.views import Resize, Rotation
from blurnet.data.images import ImageTensors
from blurnet.evaluation.config import EvaluationConfig, parse_eot, parse_targets
from blurnet.evaluation.images import Pool
from tests.evaluation.tiny_subject import victim_pool


def test_texts_are_read_and_ranges_held():
    config = EvaluationConfig(eps="8/255", patch="mask", curve_areas="0.1,0.2", curve_steps="3")
    assert (config.radius, config.area, config.areas, config.step_counts) == (8 / 255, None, [0.1, 0.2], [3])
    with pytest.raises(ValueError, match="--shard: expected from 1, got 0"):
        EvaluationConfig(shard=0)
    with pytest.raises(ValueError, match="--budget: expected one of"):
        EvaluationConfig(budget="huge")
    with pytest.raises(TypeError, match=r"--image-steps: expected .*int.*, got 'a'"):
        EvaluationConfig(image_steps="a")


def test_targets():
    victims = victim_pool()
    assert parse_targets("all", victims) == (0, 1, 3, 4, 5)
    assert parse_targets("untargeted", victims) == (None,)
    assert parse_targets("5,0", victims) == (5, 0)
    with pytest.raises(ValueError, match="expected all, untargeted, or numbers"):
        parse_targets("x", victims)
    every = Pool(ImageTensors(torch.zeros(2, 3, 4, 4), torch.arange(2), ("a", "b")), ("a", "b"), "every")
    with pytest.raises(ValueError, match="of every class, so none is left"):
        parse_targets("all", every)


def test_transformations():
    assert parse_eot("") == ()
    assert parse_eot("rotation=20,resize=0.5:1.5") == (Rotation(20.0), Resize(0.5, 1.5))
    with pytest.raises(ValueError, match="unknown transformation 'wind'; there are: rotation"):
        parse_eot("wind")
