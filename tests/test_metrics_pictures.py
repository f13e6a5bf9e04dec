"""Metrics of images: against other implementations, and on inputs with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from mulligan.core.errors import UserError
from mulligan.metrics.features.digits import digits
from mulligan.metrics.features.net import FeatureNet
from mulligan.metrics.features.random_net import RandomNet
from mulligan.metrics.pictures import SCALES, likeness, ms_ssim, pyramid, sliced_wasserstein, ssim, variety


def pictures(count: int, seed: int, side: int = 28, channels: int = 3) -> torch.Tensor:
    small = torch.rand(count, channels, side // 4, side // 4, generator=torch.Generator().manual_seed(seed))
    large = torch.nn.functional.interpolate(small, (side, side), mode="bicubic").clamp(0, 1)
    return (large * 255).round().byte()


def test_a_pyramid_adds_up_and_ends_where_it_should() -> None:
    levels = pyramid(torch.rand(2, 3, 64, 48))
    assert [tuple(level.shape[2:]) for level in levels] == [(64, 48), (32, 24)]
    flat = pyramid(torch.full((1, 1, 32, 32), 0.3))
    assert flat[0].abs().max() < 1e-6 and torch.allclose(flat[1], torch.tensor(0.3))


def test_sliced_wasserstein_of_alike_is_small_and_of_others_is_not() -> None:
    real, alike = pictures(80, 0), pictures(80, 1)
    near, same = sliced_wasserstein(real, alike), sliced_wasserstein(real, real)
    assert set(near) == {"swd", "swd_28", "swd_14"} and near["swd"] == pytest.approx(
        (near["swd_28"] + near["swd_14"]) / 2
    )
    assert same["swd"] == 0 and sliced_wasserstein(real, alike) == near
    noisy = (alike + torch.randn(alike.shape, generator=torch.Generator().manual_seed(0)) * 25).clamp(0, 255).byte()
    far = sliced_wasserstein(real, noisy)
    assert far["swd_28"] > 3 * near["swd_28"], "noise is in the finest level"
    assert far["swd_28"] > far["swd_14"]


def test_sliced_wasserstein_of_one_dimension_is_scipys() -> None:
    from scipy.stats import wasserstein_distance

    a, b = torch.randn(500), torch.randn(500) + 0.3
    ours = (a.sort().values - b.sort().values).abs().mean().item()
    assert ours == pytest.approx(wasserstein_distance(a.numpy(), b.numpy()), rel=1e-5)


def test_ssim_is_its_formula_window_by_window() -> None:
    a, b = pictures(1, 0, side=16, channels=1), pictures(1, 1, side=16, channels=1)
    b = (0.6 * a + 0.4 * b).round().byte()
    line = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    found = []
    for top in range(6):
        for left in range(6):
            x, y = (each[0, 0, top : top + 11, left : left + 11].numpy() / 255 for each in (a, b))
            mx, my = (window * x).sum(), (window * y).sum()
            vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
            both = (window * (x - mx) * (y - my)).sum()
            found.append((2 * mx * my + 1e-4) * (2 * both + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4)))
    assert ssim(a, b).item() == pytest.approx(np.mean(found), abs=1e-5)
    assert ssim(a, a).item() == pytest.approx(1, abs=1e-6)


def test_ms_ssim_is_torchmetrics() -> None:
    a = pictures(3, 0, side=192)
    noise = torch.randint(-40, 41, a.shape, generator=torch.Generator().manual_seed(0))
    b = (a.int() + noise).clamp(0, 255).byte()
    theirs = [
        multiscale_structural_similarity_index_measure(
            x[None].double(), y[None].double(), data_range=255.0, betas=SCALES, normalize="relu"
        ).item()
        for x, y in zip(a, b, strict=True)
    ]
    assert np.allclose(ms_ssim(a, b).numpy(), theirs, atol=2e-3)
    assert torch.allclose(ms_ssim(a, a), torch.ones(3))


def test_likeness_and_variety_show_collapse() -> None:
    many, one = pictures(60, 0, channels=1), pictures(1, 0, channels=1).expand(60, -1, -1, -1)
    assert likeness(one) == pytest.approx(1, abs=1e-5) and likeness(many) < 0.5
    net = digits()
    assert variety(one, net) == pytest.approx(0, abs=1e-6) and variety(many, net) > 0.1


def test_images_that_are_too_small_or_few_are_refused() -> None:
    with pytest.raises(UserError, match="at least 11 pixels"):
        ms_ssim(pictures(2, 0, side=8), pictures(2, 0, side=8))
    with pytest.raises(UserError, match="7 pixels"):
        sliced_wasserstein(pictures(4, 0, side=4), pictures(4, 0, side=4))
    with pytest.raises(UserError, match="pairs"):
        likeness(pictures(1, 0))
    with pytest.raises(UserError, match=r"no maps.*digits.*random"):
        variety(pictures(4, 0), FeatureNet())
    assert variety(pictures(4, 0), RandomNet(seed=0)) > 0
