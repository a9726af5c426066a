import pytest
import torch

from blurnet.attacks.engine.views import Resize, Rotation
from blurnet.data.images import ImageTensors
from blurnet.evaluation.images import Pool
from blurnet.evaluation.plan import make_trainer, parse_eot, parse_targets
from tests.evaluation.tiny_subject import victim_pool


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


@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
def test_a_precision_that_rounds_the_images_is_refused(tmp_path, precision):
    with pytest.raises(ValueError, match=f"{precision}.*rounds the images too; take .*-mixed"):
        make_trainer(tmp_path, device="cpu", precision=precision)
