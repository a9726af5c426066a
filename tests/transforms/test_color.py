"""Colour spaces: back again, and as scikit-image has them."""

import numpy as np
import pytest
import torch

from blurnet.transforms import _color as color


@pytest.mark.parametrize(
    ("there", "back"),
    [
        (color.ycbcr, color.rgb_of_ycbcr),
        (color.studio_ycbcr, color.rgb_of_studio_ycbcr),
        (color.lab, color.rgb_of_lab),
    ],
)
def test_colours_come_back(noise, there, back):
    torch.testing.assert_close(back(there(noise.double())), noise.double())


def test_colours_equal_scikit_image(noise):
    skimage = pytest.importorskip("skimage.color")
    image = noise[0].double()
    wanted = skimage.rgb2ycbcr(image.movedim(0, -1).numpy()) - [16, 128, 128]
    np.testing.assert_allclose(color.studio_ycbcr(image).movedim(0, -1).numpy(), wanted, atol=1e-9)
    white = color.lab(torch.ones(1, 3, 1, 1)).flatten()
    torch.testing.assert_close(white, torch.tensor([100.0, 0.0, 0.0]), rtol=0, atol=1e-2)
    assert color.ycbcr(torch.ones(3, 1, 1)).flatten().tolist() == pytest.approx([1.0, 0.0, 0.0], abs=1e-6)
