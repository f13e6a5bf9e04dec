"""Filters against scipy, and the filtered activation against a slow reference."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import scipy.special
import torch
from torch.nn import functional as F

from mulligan.nn import filters
from mulligan.nn.equalised import act
from mulligan.nn.filters import Band, FilteredAct, kaiser_beta, lowpass


@pytest.mark.parametrize(
    ("taps", "cutoff", "half_width", "rate"), [(12, 2, 6, 32), (24, 5, 2.5, 56), (12, 14, 3.2, 56), (13, 3, 1, 40)]
)
def test_a_lowpass_is_scipys(taps: int, cutoff: float, half_width: float, rate: float) -> None:
    theirs = scipy.signal.firwin(taps, cutoff, width=2 * half_width, fs=rate)
    np.testing.assert_allclose(lowpass(taps, cutoff, half_width, rate).numpy(), theirs, rtol=1e-10, atol=1e-14)
    beta = scipy.signal.kaiser_beta(scipy.signal.kaiser_atten(taps, 2 * half_width / (rate / 2)))
    assert kaiser_beta(taps, half_width, rate) == pytest.approx(beta)


def test_a_radial_lowpass_is_an_isotropic_jinc() -> None:
    taps, cutoff, half_width, rate = 24, 6.0, 4.0, 64.0
    kernel = lowpass(taps, cutoff, half_width, rate, radial=True).numpy()
    x = (np.arange(taps) - (taps - 1) / 2) / rate
    r = np.hypot(x[:, None], x[None]) * 2 * cutoff * np.pi
    window = scipy.signal.windows.kaiser(taps, kaiser_beta(taps, half_width, rate))
    by_hand = 2 * scipy.special.j1(r) / r * window[:, None] * window
    np.testing.assert_allclose(kernel, by_hand / by_hand.sum(), rtol=1e-5, atol=1e-8)

    def response(kernel: np.ndarray, f: float, angle: float) -> float:
        phase = 2j * np.pi * f * (x[:, None] * np.sin(angle) + x[None] * np.cos(angle))
        return abs((kernel * np.exp(phase)).sum())

    one = lowpass(taps, cutoff, half_width, rate).numpy()
    for f in (3.0, 6.0, 9.0):
        along, across = response(kernel, f, 0.0), response(kernel, f, np.pi / 4)
        assert across == pytest.approx(along, abs=0.01)
    assert response(np.outer(one, one), 7.0, np.pi / 4) > 1.5 * response(np.outer(one, one), 7.0, 0.0)  # a square
    assert response(kernel, 0.0, 0.0) == pytest.approx(1) and response(kernel, 12.0, 0.3) < 1e-2


def slowly(x: np.ndarray, before: Band, after: Band, radial: bool) -> np.ndarray:
    """One channel, (h, w): zeros between samples, full convolutions in float64, samples by their positions."""
    rate = 2 * max(before.rate, after.rate)
    up, down = int(rate / before.rate), int(rate / after.rate)
    rise = lowpass(6 * up, before.cutoff, before.half_width, rate).numpy() * up
    fall = lowpass(6 * down, after.cutoff, after.half_width, rate).numpy()
    fall = (
        lowpass(6 * down, after.cutoff, after.half_width, rate, radial=True).numpy() if radial else np.outer(fall, fall)
    )
    sparse = np.zeros([side * up for side in x.shape])
    sparse[::up, ::up] = x
    fine = scipy.signal.convolve(sparse, np.outer(rise, rise), method="direct")
    fine = np.where(fine > 0, fine, 0.2 * fine) * np.sqrt(2)
    smooth = scipy.signal.convolve(fine, fall, method="direct")
    # the first sample of `sparse` lies half a coarse sample, less half a fine one, from the first coarse border;
    # two filters of even lengths move everything by (6 up - 1) / 2 + (6 down - 1) / 2
    out = np.zeros(after.grid)
    for index in np.ndindex(*after.grid):
        position = []
        for i, a, b in zip(index, before.grid, after.grid, strict=True):
            centred = (i + 0.5 - b / 2) * down  # in fine samples, from the middle
            position.append(centred + a / 2 * up - 0.5 + (6 * up - 1) / 2 + (6 * down - 1) / 2 - (up - 1) / 2)
        assert np.allclose(position, np.round(position))
        out[index] = smooth[tuple(round(p) for p in position)]
    return out


@pytest.mark.parametrize("radial", [False, True])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Band(3, 4, 14, (11, 12)), Band(3.5, 3.5, 14, (11, 12))),
        (Band(3, 4, 14, (15, 12)), Band(5, 9, 28, (18, 12))),
        (Band(3, 4, 14, (15, 14)), Band(5, 9, 28, (5, 4))),
        (Band(12, 3, 28, (13, 14)), Band(14, 3.2, 28, (7, 8))),
    ],
    ids=str,
)
def test_filtered_activation_is_the_slow_reference(before: Band, after: Band, radial: bool) -> None:
    x = torch.randn(2, 3, *before.grid)
    y = FilteredAct(before, after, radial=radial)(x)
    assert y.shape == (2, 3, *after.grid)
    for ours, theirs in zip(y.flatten(0, 1), x.flatten(0, 1), strict=True):
        np.testing.assert_allclose(ours, slowly(theirs.double().numpy(), before, after, radial), rtol=1e-4, atol=2e-5)


def test_gradients_of_a_filtered_activation() -> None:
    torch.manual_seed(0)
    layer = FilteredAct(Band(2, 2, 8, (6, 5)), Band(2, 2, 8, (4, 5))).double()
    x = torch.randn(1, 2, 6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x) and torch.autograd.gradgradcheck(layer, x)


def wave(band: Band, shift: float) -> torch.Tensor:
    """A few waves below the cutoff, on a grid, shifted to the right by `shift` units of length: (1, 1, h, w)."""
    rows, columns = ((torch.arange(n, dtype=torch.float64) + 0.5 - n / 2) / band.rate for n in band.grid)
    waves = [(0.9, 0.5, 0.1), (-0.4, 0.9, 0.3), (0.6, -0.7, 0.7), (0.1, 0.2, 0.4)]
    made = [
        torch.cos(2 * torch.pi * (band.cutoff * 0.7 * (y * rows[:, None] + x * (columns - shift)) + phase))
        for y, x, phase in waves
    ]
    return sum(made)[None, None]


def test_a_batch_is_processed_in_parts_that_fit_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = FilteredAct(Band(2, 2, 8, (6, 5)), Band(2, 2, 8, (4, 5))), torch.randn(5, 2, 6, 5, requires_grad=True)
    whole = layer(x)
    (slope,) = torch.autograd.grad(whole.square().sum(), x)
    sizes = []
    monkeypatch.setattr(filters, "CACHED", 2 * (2 * 6 * 5) * 4)  # the fine grids of two samples
    monkeypatch.setattr(
        layer, "_filtered", lambda some, filtered=layer._filtered: sizes.append(len(some)) or filtered(some)
    )
    parted = layer(x)
    assert sizes == [2, 2, 1]
    torch.testing.assert_close(parted, whole)
    torch.testing.assert_close(torch.autograd.grad(parted.square().sum(), x)[0], slope)


def test_a_filtered_activation_commutes_with_shifts_of_less_than_a_sample() -> None:
    band = Band(3, 5, 16, (40, 40))
    layer = FilteredAct(band, band).double()

    def filtered(shift: float) -> torch.Tensor:
        return layer(wave(band, shift))[:, :, 8:-8, 8:-8]

    def plain(shift: float) -> torch.Tensor:
        return act(wave(band, shift))[:, :, 8:-8, 8:-8]

    def decibels(of) -> float:
        """PSNR of the output for a wave shifted by half a sample, against the output for the wave, then shifted."""
        straight, shifted = of(0.0), of(0.5 / 16)
        n = straight.shape[-1]
        offsets = (torch.arange(n, dtype=torch.float64) - 0.5)[:, None] - torch.arange(n, dtype=torch.float64)
        taps = torch.sinc(offsets) * torch.special.i0(8 * (1 - (offsets / 10).square()).clamp(min=0).sqrt())
        taps = torch.where(offsets.abs() < 10, taps, 0.0)
        taps = taps / taps.sum(1, keepdim=True)
        inside = slice(11, -11)
        error = (straight @ taps.T - shifted)[..., inside].square().mean() / straight.var()
        return -10 * error.log10().item()

    assert decibels(filtered) > 45 > 30 > decibels(plain)


def test_padding_is_zeros_and_the_grids_have_one_centre() -> None:
    before, after = Band(3, 4, 14, (20, 20)), Band(5, 9, 28, (12, 16))
    layer = FilteredAct(before, after)
    x = torch.randn(1, 1, 20, 20)
    for turned in (lambda x: x.flip(2), lambda x: x.flip(3)):
        torch.testing.assert_close(layer(turned(x)), turned(layer(x)), rtol=1e-4, atol=1e-5)
    outside = F.pad(x, (3, 3, 3, 3))
    torch.testing.assert_close(FilteredAct(Band(3, 4, 14, (26, 26)), after)(outside), layer(x), rtol=1e-4, atol=1e-5)
    with pytest.raises(AssertionError):
        FilteredAct(before, Band(5, 9, 28, (80, 80)))
