"""Normalisation as a layer."""

import pytest
import torch

from blurnet.nets.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize
from tests.nets.pictures import X


def test_normalize():
    layer = Normalize()
    mean, std = torch.tensor(IMAGENET_MEAN).view(3, 1, 1), torch.tensor(IMAGENET_STD).view(3, 1, 1)
    torch.testing.assert_close(layer(X), (X - mean) / std)
    torch.testing.assert_close(layer(mean.expand(1, 3, 4, 4)), torch.zeros(1, 3, 4, 4))
    assert layer.state_dict() == {}
    assert layer.double()(X.double()).dtype == torch.float64


@pytest.mark.parametrize("arguments", [((0.5,), (0.5, 0.5)), ((), ()), ((0.5,), (0.0,)), ((0.5,), (-1.0,))], ids=str)
def test_normalize_refuses(arguments):
    with pytest.raises(ValueError, match="as many positive deviations as means"):
        Normalize(*arguments)
