"""Unbiased distances, the two-sample test and the Inception Score, on constructed answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from mulligan.core.errors import UserError
from mulligan.metrics.distances import frechet_distance
from mulligan.metrics.unbiased import fid_infinity, gaussian_distance, inception_score, two_sample_test


def normal(count: int, seed: int, width: int = 8, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) + shift


def test_fid_infinity_is_nearer_to_the_truth_than_fid() -> None:
    """Two Gaussians a shift of 0.5 in 8 dimensions apart: 2."""
    real, truth = normal(20_000, 0), 8 * 0.5**2
    found = [fid_infinity(real, normal(400, seed, shift=0.5))[0] - truth for seed in range(1, 9)]
    plain = [frechet_distance(real, normal(400, seed, shift=0.5)) - truth for seed in range(1, 9)]
    assert abs(np.mean(found)) < abs(np.mean(plain)) / 2


def test_the_gaussian_distance_is_the_naive_one() -> None:
    real, fake = normal(40, 0), normal(30, 1, shift=0.4)
    x, y = (
        side.double().numpy() / np.linalg.norm(side.double().numpy(), axis=1, keepdims=True) for side in (real, fake)
    )
    xx, yy, xy = (np.exp(-(cdist(a, b) ** 2) / 200) for a, b in ((x, x), (y, y), (x, y)))
    np.fill_diagonal(xx, 0), np.fill_diagonal(yy, 0)
    naive = 1000 * (xx.sum() / 40 / 39 + yy.sum() / 30 / 29 - 2 * xy.mean())
    assert gaussian_distance(real, fake) == pytest.approx(naive, rel=1e-6)
    assert abs(gaussian_distance(normal(400, 2), normal(400, 3))) < gaussian_distance(
        normal(400, 2), normal(400, 3, shift=1)
    )


def test_equal_distributions_are_distinguished_by_chance_alone() -> None:
    p = np.array([two_sample_test(normal(200, 2 * i), normal(200, 2 * i + 1))[1] for i in range(100)])
    assert 2 <= (p < 0.1).sum() <= 20 and 0.35 < np.median(p) < 0.65


def test_different_distributions_are_distinguished() -> None:
    accuracy, p = two_sample_test(normal(200, 0), normal(300, 1, shift=0.8))
    assert accuracy > 0.75 and p < 1e-6


def test_inception_score_at_its_ends() -> None:
    sure = torch.eye(10).repeat(10, 1)
    assert inception_score(sure, splits=1)[0] == pytest.approx(10)
    assert inception_score(torch.full((50, 10), 0.1))[0] == pytest.approx(1)
    half = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    naive = math.exp((math.log(1 / 0.75) + 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)) / 2)
    assert inception_score(half, splits=1)[0] == pytest.approx(naive)


def test_too_few_are_refused() -> None:
    with pytest.raises(UserError, match="at least 200 samples; fake has 100"):
        fid_infinity(normal(300, 0), normal(100, 1))
    with pytest.raises(UserError, match="at least 20"):
        two_sample_test(normal(30, 0), normal(10, 1))
    with pytest.raises(UserError, match="at least 10 samples"):
        inception_score(torch.ones(5, 2))
