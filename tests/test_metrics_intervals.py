"""Intervals contain the true value as often as they promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mulligan.core.errors import UserError
from mulligan.metrics.distances import METRICS, frechet_distance, measure
from mulligan.metrics.intervals import T, differences, estimates, wilson


def normal(count: int, seed: int, width: int = 4, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def test_values_are_those_without_intervals() -> None:
    real, fake = normal(120, 0), normal(100, 1)
    found, plain = estimates(real, fake), measure(real, fake)
    assert set(found) == set(METRICS)
    for name, (value, low, high) in found.items():
        assert value == pytest.approx(plain[name]) and low <= value <= high
    found = differences(real, fake, normal(100, 2, scale=2))
    other = measure(real, normal(100, 2, scale=2))
    for name, each in found.items():
        assert each.value == pytest.approx(plain[name] - other[name]) and each.low < each.value < each.high


def test_intervals_contain_the_mean_of_other_draws() -> None:
    """Both sets drawn 60 times: the mean over all draws is in at least 54 of 60 intervals."""
    drawn = [estimates(normal(150, 2 * seed), normal(150, 2 * seed + 1, scale=1.3)) for seed in range(60)]
    for name in METRICS:
        truth = np.mean([each[name].value for each in drawn])
        assert sum(each[name].low <= truth <= each[name].high for each in drawn) >= 54, name


def test_no_interval_has_width_0_where_all_are_correct() -> None:
    assert wilson(1.0, 100) == (1.0, pytest.approx(0.963, abs=1e-3), 1.0)
    _, low, high = estimates(normal(100, 0), normal(100, 1, scale=0.01))["precision"]
    assert low < 0.97 and high == 1.0


def test_the_jackknife_spreads_as_repetition_does() -> None:
    values, reaches = [], []
    for seed in range(40):
        real, fake = normal(200, 2 * seed), normal(200, 2 * seed + 1, scale=1.5)
        values.append(frechet_distance(real, fake))
        _, low, high = estimates(real, fake)["fid"]
        reaches.append((high - low) / 2 / T)
    assert 0.7 < np.mean(reaches) / np.std(values) < 1.4


def test_no_difference_is_rarely_called_one_and_a_large_one_always() -> None:
    called = dict.fromkeys(METRICS, 0)
    for seed in range(0, 120, 3):
        found = differences(*(normal(100, 1000 + seed + i) for i in range(3)))
        for name in METRICS:
            called[name] += not found[name].low <= 0 <= found[name].high
    assert max(called.values()) <= 5, f"of 40: {called}"
    found = differences(normal(300, 0), normal(300, 1, scale=2.5), normal(300, 2))
    for name in set(METRICS) - {"recall"}:  # fakes with a wide spread have large balls
        assert not found[name].low <= 0 <= found[name].high, name


def test_too_few_for_a_jackknife_are_refused() -> None:
    with pytest.raises(UserError, match="at least 20 samples; fake has 19"):
        estimates(normal(40, 0), normal(19, 1))
