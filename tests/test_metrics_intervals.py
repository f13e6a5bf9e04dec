"""Intervals hold what they say they hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mulligan.core.errors import UserError
from mulligan.metrics.distances import METRICS, frechet_distance, in_balls, measure
from mulligan.metrics.intervals import differences, estimates, wilson


def normal(count: int, seed: int, width: int = 4, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def test_values_are_those_without_intervals() -> None:
    real, fake = normal(120, 0), normal(100, 1)
    found, plain = estimates(real, fake), measure(real, fake)
    assert set(found) == set(METRICS)
    for name, (value, low, high) in found.items():
        assert value == pytest.approx(plain[name]) and low <= value <= high
    apart = differences(real, fake, normal(100, 2, scale=2))
    other = measure(real, normal(100, 2, scale=2))
    for name, each in apart.items():
        assert each.value == pytest.approx(plain[name] - other[name]) and each.low < each.value < each.high


def test_intervals_of_shares_hold_what_more_fakes_would_show() -> None:
    """Given the reals: the precision of a great many fakes is in the interval of few, in about 57 of 60 cases."""
    real = normal(100, 0)
    truth = in_balls(real, normal(5_000, 1, scale=1.3), k=5)["precision"].mean().item()
    held = 0
    for seed in range(60):
        _, low, high = wilson(in_balls(real, normal(100, 10 + seed, scale=1.3), k=5)["precision"])
        held += low <= truth <= high
    assert 52 <= held <= 60


def test_wilson_is_no_point_where_all_are_right() -> None:
    value, low, high = wilson(torch.ones(100))
    assert value == high == 1.0 and low == pytest.approx(0.963, abs=1e-3)


def test_the_jackknife_spreads_as_repetition_does() -> None:
    values, reaches = [], []
    for seed in range(40):
        real, fake = normal(200, 2 * seed), normal(200, 2 * seed + 1, scale=1.5)
        values.append(frechet_distance(real, fake))
        _, low, high = estimates(real, fake)["fid"]
        reaches.append((high - low) / 2 / 1.96)
    assert 0.7 < np.mean(reaches) / np.std(values) < 1.4


@pytest.mark.parametrize("name", METRICS)
def test_no_difference_is_rarely_called_one_and_a_large_one_always(name: str) -> None:
    called = 0
    for seed in range(0, 120, 3):
        real, ours, theirs = (normal(100, 1000 + seed + i) for i in range(3))
        found = differences(real, ours, theirs)[name]
        called += not found.low <= 0 <= found.high
    assert called <= 5, "of 40"
    found = differences(normal(300, 0), normal(300, 1, scale=2.5), normal(300, 2))[name]
    if name != "recall":  # far-flung fakes have large balls
        assert not found.low <= 0 <= found.high


def test_too_few_for_a_jackknife_are_refused() -> None:
    with pytest.raises(UserError, match="at least 20 images; fake has 19"):
        estimates(normal(40, 0), normal(19, 1))
