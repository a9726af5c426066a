"""Settings of local gradients smoothing: defaults by size, what is refused."""

import pytest
import torch

from blurnet.transforms.lgs.lgs import LGS, lgs
from tests.transforms.lgs.reading import image


def test_default_windows_follow_the_size():
    for size, block, overlap in ((5, 2, 0), (32, 6, 2), (75, 15, 5), (224, 15, 5)):
        x = image(1, 3, size, size)
        assert torch.equal(lgs(x), lgs(x, block=block, overlap=overlap))


BAD = [{"smoothing": -1}, {"smoothing": float("nan")}, {"threshold": -0.1}, {"temperature": -1}]
BAD += [{"block": 0}, {"overlap": -1}, {"block": 5, "overlap": 5}, {"low_pass": 2}, {"low_pass": -1}]
BAD += [{"maps": "rgb"}, {"stencil": "prewitt"}, {"padding": "zeros"}, {"gate": "open"}]
BAD += [{"gate": "soft", "temperature": 0}]


@pytest.mark.parametrize("settings", BAD, ids=str)
def test_bad_settings_raise(settings):
    name = "LGS low_pass" if "low_pass" in settings else "LGS"
    with pytest.raises(ValueError, match=name):
        LGS(**settings)
    with pytest.raises(ValueError, match=name):
        lgs(torch.rand(1, 3, 32, 32), **settings)


@pytest.mark.parametrize("settings", [{"block": 15}, {"block": 5, "low_pass": 25}, {"overlap": 2}], ids=str)
def test_windows_that_do_not_fit_the_image_raise(settings):
    with pytest.raises(ValueError, match=r"fit images \(1, 3, 12, 40\)"):
        lgs(torch.rand(1, 3, 12, 40), **settings)
