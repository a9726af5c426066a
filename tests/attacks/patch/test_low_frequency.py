"""Noise in a band of the DCT."""

import pytest
import torch

from blurnet.attacks.patch.low_frequency import LowFrequency
from blurnet.spectra import dct2, inverse_dct2

EVERYWHERE = torch.ones(16, 16)


def outside_energy(noise, band):
    """Energy of maps (N, 3, H, W) beyond the lowest ``band`` DCT coefficients."""
    return noise.square().sum() - dct2(noise, band).square().sum()


def test_the_noise_stays_in_its_band(problem):
    """Dim images and a short climb, so that no pixel is clipped."""
    images = problem.images * 0.2 + 0.4
    for band in (1, 3, 8):
        attack = LowFrequency(EVERYWHERE, steps=3, optimizer="sign", lr=0.02, start="image", band=band, stop=False)
        noise = attack(problem.net, images, problem.labels) - images
        assert noise.abs().max() > 0.01
        assert outside_energy(noise.double(), band).abs() < 1e-6 * noise.double().square().sum() + 1e-9


def test_replacement_by_hand(problem):
    z = torch.zeros(8, 3, 4, 4)
    z[:, :, 0, 0] = 0.1
    attack = LowFrequency(problem.mask, band=4, composition="replace")
    # The mean is 1/16 of the first coefficient, and a unit is 16 / 4.
    torch.testing.assert_close(attack.paint(z, problem.images), torch.full_like(problem.images, 0.525))
    added = LowFrequency(problem.mask, band=4).paint(z, problem.images)
    torch.testing.assert_close(added, (problem.images + 0.025).clamp(0, 1))


def test_a_unit_step_in_every_coefficient_moves_pixels_by_one(generator):
    x = torch.zeros(1, 3, 12, 20)
    for band in (2, 7, 12):
        z = (torch.rand(1, 3, band, band, generator=generator) - 0.5).sign()
        noise = inverse_dct2(z * LowFrequency(band=band)._unit(x), (12, 20))
        assert noise.square().mean().sqrt().item() == pytest.approx(1)


@pytest.mark.parametrize("composition", ["add", "replace"])
def test_the_whole_band_can_be_any_picture(composition, problem):
    attack = LowFrequency(EVERYWHERE, steps=0, band=16, composition=composition)
    for start, wanted in (("image", problem.images), ("gray", torch.full_like(problem.images, 0.5))):
        z = attack.begin(problem.images, torch.rand(1, 3, 16, 16), start)
        torch.testing.assert_close(attack.paint(z, problem.images), wanted)


def test_breaks_the_net_with_few_coefficients(problem):
    out = LowFrequency(EVERYWHERE, steps=40, band=4)(problem.net, problem.images, problem.labels)
    with torch.no_grad():
        assert (problem.net(out).argmax(1) != problem.labels).all()


def test_bad_settings_raise(problem):
    for settings in ({"band": 0}, {"composition": "multiply"}):
        (name,) = settings
        with pytest.raises(ValueError, match=f"LowFrequency {name}: expected"):
            LowFrequency(EVERYWHERE, **settings)
    with pytest.raises(ValueError, match="LowFrequency band: expected at most the 16 pixels of a side, got 17"):
        LowFrequency(EVERYWHERE, band=17)(problem.net, problem.images, problem.labels)
