import numpy as np
import pytest
import torch

from blurnet.spectra import dct2, inverse_dct2, log_spectrum, low_frequency_energy, radial_energy


def test_log_spectrum_is_numpys(generator):
    x = torch.rand(2, 3, 8, 11, generator=generator)
    want = np.fft.fftshift(np.log1p(np.abs(np.fft.fft2(x.numpy()))), axes=(-2, -1))
    torch.testing.assert_close(log_spectrum(x), torch.from_numpy(want).float(), rtol=1e-4, atol=1e-5)


def test_constant_has_only_the_centre():
    spectrum = log_spectrum(torch.ones(8, 8))
    assert spectrum[4, 4] == pytest.approx(np.log(65), rel=1e-5)
    assert spectrum.count_nonzero() == 1


@pytest.mark.parametrize("size", [(8, 8), (7, 12)])
def test_radial_energy_matches_a_direct_loop(generator, size):
    x, bins = torch.rand(*size, generator=generator, dtype=torch.float64), 5
    energy = np.abs(np.fft.fft2(x.numpy())) ** 2
    want = np.zeros(bins)
    for i, row in enumerate(np.fft.fftfreq(size[0])):
        for j, column in enumerate(np.fft.fftfreq(size[1])):
            want[min(int(np.hypot(row, column) / np.sqrt(0.5) * bins + 1e-9), bins - 1)] += energy[i, j]
    np.testing.assert_allclose(radial_energy(x, bins).numpy(), want / energy.sum(), atol=1e-9)


def test_parseval(generator):
    # The energy that the rings share is the energy of the pixels.
    x = torch.rand(3, 9, 10, generator=generator, dtype=torch.float64)
    mean_share = x.mean((-2, -1)).square() * 90 / x.square().sum((-2, -1))
    torch.testing.assert_close(low_frequency_energy(x, 0.0), mean_share)
    torch.testing.assert_close(radial_energy(x, 4).sum(-1), torch.ones(3, dtype=torch.float64))


def test_low_frequency_energy_grows_to_one(generator):
    x = torch.rand(4, 3, 16, 16, generator=generator)
    shares = torch.stack([low_frequency_energy(x, cutoff) for cutoff in (0.0, 0.25, 0.5, 1.0)])
    assert shares.shape == (4, 4, 3)
    assert (shares.diff(dim=0) >= 0).all()
    torch.testing.assert_close(shares[-1], torch.ones(4, 3))


def test_checkerboard_is_the_highest_frequency():
    board = (torch.arange(8)[:, None] + torch.arange(8)[None]).remainder(2).float() * 2 - 1
    assert radial_energy(board, 4).tolist() == [0, 0, 0, 1]


def test_zero_map_has_no_share():
    assert radial_energy(torch.zeros(2, 4, 4), 3).tolist() == [[0, 0, 0]] * 2
    assert low_frequency_energy(torch.zeros(4, 4), 0.5) == 0


def test_half_precision(generator):
    x = torch.rand(1, 6, 6, generator=generator)
    torch.testing.assert_close(log_spectrum(x.half()), log_spectrum(x), rtol=1e-2, atol=1e-2)


def test_bad_input():
    with pytest.raises(ValueError, match=r"float with shape .*int64 \(4, 4\)"):
        log_spectrum(torch.zeros(4, 4, dtype=torch.long))
    with pytest.raises(ValueError, match=r"\(4,\)"):
        radial_energy(torch.zeros(4), 2)
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        radial_energy(torch.zeros(4, 4), 0)
    with pytest.raises(ValueError, match=r"cutoff must be in \[0, 1\].*got 2"):
        low_frequency_energy(torch.zeros(4, 4), 2)


def test_dct_is_scipys(generator):
    dctn = pytest.importorskip("scipy.fft").dctn
    x = torch.rand(2, 3, 6, 9, generator=generator, dtype=torch.float64)
    want = dctn(x.numpy(), type=2, axes=(-2, -1), norm="ortho")[..., :4, :4]
    np.testing.assert_allclose(dct2(x, 4).numpy(), want, atol=1e-12)


def test_the_inverse_dct_undoes_it(generator):
    x = torch.rand(2, 3, 8, 8, generator=generator)
    torch.testing.assert_close(inverse_dct2(dct2(x, 8), (8, 8)), x)
    z = torch.rand(2, 3, 3, 3, generator=generator)
    torch.testing.assert_close(dct2(inverse_dct2(z, (8, 11)), 3), z)  # what is in the band stays
    torch.testing.assert_close(inverse_dct2(z, (8, 11)).square().sum(), z.square().sum())


def test_bands_beyond_the_side_raise():
    for band in (0, 9):
        with pytest.raises(ValueError, match=f"band must be from 1 to the 8 pixels of a side, got {band}"):
            dct2(torch.rand(8, 12), band)
