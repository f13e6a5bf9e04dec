"""Distances of feature sets against closed forms, independent implementations and constructed answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mulligan.core.errors import UserError
from mulligan.metrics import distances, pairwise
from mulligan.metrics.distances import (
    by_class,
    frechet_distance,
    frechet_from_moments,
    kernel_distance,
    measure,
    moments,
    precision_recall_density_coverage,
)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


class Given(nn.Module):
    """A 'feature net' for torchmetrics that returns its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, x: Tensor) -> Tensor:
        return x


def peer(metric: nn.Module, real: Tensor, fake: Tensor):
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return metric.compute()


# --- FID


def test_fid_of_known_gaussians():
    """Points +-a on each axis have mean 0 and a diagonal covariance; turned and moved, the distance is known."""
    turn = torch.linalg.qr(normal(4, 4, 0).double()).Q

    def cross(a: list[float], at: list[float]) -> Tensor:
        axes = torch.diag(torch.tensor(a, dtype=torch.float64))
        return torch.cat([axes, -axes]) @ turn.T + torch.tensor(at, dtype=torch.float64)

    a, b, step = [1.0, 2.0, 3.0, 0.5], [2.0, 2.0, 0.0, 0.5], [0.0, 3.0, 0.0, -4.0]
    # Standard deviation a sqrt(2 / 7) on each axis; for covariances that commute FID is sum (s1 - s2)^2 + |step|^2.
    expected = 25 + sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) * 2 / 7
    assert frechet_distance(cross(a, [0.0] * 4), cross(b, step)) == pytest.approx(expected, rel=1e-9)


def test_fid_is_torchmetrics():
    real, fake = normal(300, 24, 1).relu(), (normal(200, 24, 2) @ normal(24, 24, 3) / 5 + 0.2).relu()
    metric = pytest.importorskip("torchmetrics.image.fid").FrechetInceptionDistance(feature=Given(24))
    metric.set_dtype(torch.float64)
    assert frechet_distance(real, fake) == pytest.approx(peer(metric, real.double(), fake.double()).item(), rel=1e-6)


def test_fid_with_fewer_images_than_dimensions():
    """Tr (A B)^(1/2) is the sum of singular values of X Y' for centred, scaled X and Y: no square root of noise."""
    real, fake = normal(30, 100, 4), normal(40, 100, 5) + 0.1
    x = (real.double() - real.double().mean(0)) / 29**0.5
    y = (fake.double() - fake.double().mean(0)) / 39**0.5
    step = real.double().mean(0) - fake.double().mean(0)
    expected = step.square().sum() + x.square().sum() + y.square().sum() - 2 * torch.linalg.svdvals(x @ y.T).sum()
    assert frechet_distance(real, fake) == pytest.approx(expected.item(), rel=1e-9)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-9)


def test_fid_with_dead_features_and_one_dimension():
    dead = torch.cat([normal(80, 5, 6), torch.zeros(80, 20)], 1)
    assert frechet_distance(dead, dead.clone()) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(dead, dead + 1) == pytest.approx(25, rel=1e-6)
    line = dead[:, :1].double()
    assert frechet_distance(line, line * 3) == pytest.approx(4 * (line.var() + line.mean() ** 2).item(), rel=1e-9)


def test_fid_from_stored_moments():
    real, fake = normal(50, 8, 7), normal(60, 8, 8)
    assert frechet_from_moments(moments(real), moments(fake)) == frechet_distance(real, fake)


# --- KID


def test_kid_is_the_double_loop():
    real, fake = normal(13, 4, 0).numpy().astype(float), normal(9, 4, 1).numpy().astype(float) + 0.5

    def mean(a, b, skip: bool) -> float:
        kernel = [(x @ y / 4 + 1) ** 3 for i, x in enumerate(a) for j, y in enumerate(b) if not (skip and i == j)]
        return sum(kernel) / len(kernel)

    expected = mean(real, real, True) + mean(fake, fake, True) - 2 * mean(real, fake, False)
    value, error = kernel_distance(torch.from_numpy(real).float(), torch.from_numpy(fake).float())
    assert value == pytest.approx(expected, rel=1e-6)
    assert error > 0


def test_kid_far_from_the_origin_keeps_its_digits():
    real, fake = normal(60, 8, 0) + 100, normal(60, 8, 1) + 100.1
    x, y = real.double(), fake.double()

    def kernel(a, b):
        return (a @ b.T / 8 + 1) ** 3

    within = [(kernel(a, a).sum() - kernel(a, a).diagonal().sum()) / (60 * 59) for a in (x, y)]
    expected = sum(within) - 2 * kernel(x, y).mean()
    assert kernel_distance(real, fake)[0] == pytest.approx(expected.item(), rel=1e-6)


def test_kid_of_many_is_the_mean_over_parts(monkeypatch: pytest.MonkeyPatch):
    real, fake = normal(70, 8, 0), normal(90, 8, 1) * 1.2
    monkeypatch.setattr(distances, "KID_PART", 30)
    in_parts = [kernel_distance(real[part::3], fake[part::3]) for part in range(3)]
    value, error = kernel_distance(real, fake)
    assert value == pytest.approx(sum(each for each, _ in in_parts) / 3, rel=1e-6)
    assert error == pytest.approx(sum(each**2 for _, each in in_parts) ** 0.5 / 3, rel=1e-6)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance`")
def test_kid_is_torchmetrics():
    real, fake = normal(120, 16, 2), normal(120, 16, 3) * 1.1
    metric = pytest.importorskip("torchmetrics.image.kid").KernelInceptionDistance(
        feature=Given(16), subsets=1, subset_size=120
    )
    expected, _ = peer(metric, real.double(), fake.double())
    assert kernel_distance(real, fake)[0] == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(("m", "n", "shift"), [(80, 80, 0.0), (150, 50, 0.0), (80, 80, 0.4), (200, 60, 0.1)])
def test_kid_error_is_the_spread_of_repeated_draws(m: int, n: int, shift: float):
    draws = [
        kernel_distance(normal(m, 12, 2 * i).relu(), (normal(n, 12, 2 * i + 1) + shift).relu()) for i in range(200)
    ]
    values, errors = torch.tensor(draws).unbind(1)
    assert 0.75 < errors.square().mean().sqrt() / values.std() < 1.4
    if shift == 0:
        assert abs(values.mean()) < 3 * values.std() / 200**0.5  # unbiased


# --- precision, recall, density, coverage


def naive(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
    def distances_of(a, b):
        return np.array([[np.linalg.norm(x - y) for y in b] for x in a])

    reach_real = np.sort(distances_of(real, real), axis=1)[:, k]  # column 0 is itself
    reach_fake = np.sort(distances_of(fake, fake), axis=1)[:, k]
    between = distances_of(real, fake)
    reals, fakes = range(len(real)), range(len(fake))
    return {
        "precision": float(np.mean([any(between[i, j] <= reach_real[i] for i in reals) for j in fakes])),
        "recall": float(np.mean([any(between[i, j] <= reach_fake[j] for j in fakes) for i in reals])),
        "density": sum(between[i, j] <= reach_real[i] for i in reals for j in fakes) / k / len(fake),
        "coverage": float(np.mean([between[i].min() <= reach_real[i] for i in reals])),
    }


@pytest.mark.parametrize("k", [1, 3, 5])
def test_neighbours_are_the_naive_ones(k: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pairwise, "SIDE", 7)  # small tiles, so that there are several
    real, fake = normal(150, 6, 0), normal(90, 6, 1) * 0.9 + 0.2
    expected = naive(real.double().numpy(), fake.double().numpy(), k)
    assert precision_recall_density_coverage(real, fake, k=k) == pytest.approx(expected, abs=1e-12)
    assert 0.1 < expected["coverage"] < 0.95


def test_tiles_do_not_change_numbers(monkeypatch: pytest.MonkeyPatch):
    real, fake = normal(300, 8, 2), normal(200, 8, 3)
    whole = measure(real, fake)
    monkeypatch.setattr(pairwise, "SIDE", 37)
    assert measure(real, fake) == pytest.approx(whole, rel=1e-7)  # KID's products are float32


def clusters(n_each: int, count: int, seed: int) -> Tensor:
    return torch.cat([normal(n_each, 8, seed + c) + 20 * torch.eye(8)[c] for c in range(count)])


def test_a_faked_mode_collapse_has_precision_but_no_recall():
    real = clusters(100, 5, 0)
    fake = normal(500, 8, 99) + 20 * torch.eye(8)[2]  # good samples, all of one kind
    numbers = measure(real, fake)
    assert numbers["precision"] > 0.9
    assert numbers["density"] > 0.8
    assert numbers["recall"] < 0.25
    assert numbers["coverage"] < 0.25
    healthy = measure(real, clusters(100, 5, 50))
    assert healthy["recall"] > 0.8 and healthy["coverage"] > 0.8
    assert numbers["fid"] > 20 * healthy["fid"]
    assert numbers["kid"] > 20 * abs(healthy["kid"]) + 5 * numbers["kid_se"]


def test_a_few_pictures_again_and_again_have_precision_but_no_recall():
    numbers = measure(normal(400, 8, 0), normal(8, 8, 1).repeat(50, 1))
    assert numbers["precision"] > 0.5
    assert numbers["recall"] == 0  # each fake's ball is a point
    assert numbers["coverage"] < 0.2


def test_the_same_set_twice():
    real = normal(60, 5, 0).double()
    assert kernel_distance(real, real) == kernel_distance(real, real.clone())  # also when it is the same tensor
    expected = {"precision": 1, "recall": 1, "density": 1.2, "coverage": 1}  # k neighbours and itself, over k
    assert precision_recall_density_coverage(real, real.clone()) == pytest.approx(expected)


def test_sets_far_apart():
    numbers = measure(normal(60, 5, 0), normal(60, 5, 1) + 100)
    assert [numbers[name] for name in ("precision", "recall", "density", "coverage")] == [0, 0, 0, 0]
    assert numbers["fid"] == pytest.approx(5 * 100**2, rel=0.05)


def test_duplicates_are_at_distance_zero():
    """Every real ten times: all balls are points, which hold exact copies and nothing else."""
    real = (normal(20, 50, 0) * 7 + 300).repeat(10, 1)
    copies = precision_recall_density_coverage(real, real[:40])
    assert copies["precision"] == copies["recall"] == copies["coverage"] == 1
    assert copies["density"] == pytest.approx(10 / 5)
    near_copies = precision_recall_density_coverage(real, real[:40] + 0.1)
    assert near_copies["precision"] == near_copies["coverage"] == 0


def test_features_far_from_the_origin_keep_their_neighbours():
    real, fake = (normal(100, 8, 0) * 64).round() / 64, (normal(80, 8, 1) * 64).round() / 64
    near = precision_recall_density_coverage(real, fake)
    assert precision_recall_density_coverage(real + 4096, fake + 4096) == near  # exact in float32


SETS = {
    "alike": (normal(150, 32, 0), normal(90, 32, 1) * 0.9),
    "long tails": (normal(150, 32, 2) * normal(150, 1, 3).exp(), normal(90, 32, 4) * normal(90, 1, 5).exp()),
    "repeated": (normal(15, 32, 6).repeat(10, 1), torch.cat([normal(15, 32, 6)[:5].repeat(9, 1), normal(45, 32, 7)])),
    "specks": (clusters(50, 3, 8) + 1e4 * clusters(1, 3, 9).repeat_interleave(50, 0), clusters(30, 3, 9)),
    "one far away": (torch.cat([normal(149, 32, 10), 1e5 * normal(1, 32, 11)]), normal(90, 32, 12)),
    "huge": (normal(150, 32, 13) * 1e25, normal(90, 32, 14) * 1e25),
    "tiny": (normal(150, 32, 15) * 1e-30, normal(90, 32, 16) * 1e-30),
    "a grid": ((normal(150, 4, 17) * 2).round(), (normal(90, 4, 18) * 2).round()),
}


@pytest.mark.parametrize("allowed", ["highest", "medium"])
@pytest.mark.parametrize("name", SETS)
def test_pairs_that_float32_cannot_decide_are_computed_in_float64(
    name: str, allowed: str, monkeypatch: pytest.MonkeyPatch
):
    """Neighbours are those of float64: where float32 decides all pairs, where it decides none, and with many ties."""
    monkeypatch.setattr(pairwise, "SIDE", 40)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: allowed)  # as if products were that rough
    points, queries = SETS[name]
    between = torch.cdist(queries.double(), points.double(), compute_mode="donot_use_mm_for_euclid_dist")
    expected = between.topk(5, largest=False).values
    found, which = pairwise.nearest(queries, points, 5)
    size = (points.double() - points.double().mean(0)).norm(dim=1).max().item()
    assert torch.allclose(found, expected, rtol=1e-9, atol=2e-7 * size)  # the root of float64's rounding
    assert torch.allclose(between.gather(1, which), found, rtol=1e-9, atol=2e-7 * size)
    shares = precision_recall_density_coverage(points, queries, k=3)
    if name not in ("specks", "one far away"):  # where float64 of |x|^2 + |y|^2 - 2 x.y itself is too rough
        assert shares == pytest.approx(naive(points.double().numpy(), queries.double().numpy(), 3), abs=1e-12)


@pytest.mark.parametrize("name", SETS)
def test_float32_is_never_above_the_truth_and_never_far_below(name: str):
    x, y = pairwise.centred(*SETS[name])
    tile = pairwise.Tile(y, slice(0, 90), x, slice(0, 150))
    below = pairwise.products(y, slice(0, 90), x, slice(0, 150)) - tile.lower
    assert below.min() >= -1e-15 and below.max() <= tile.gap


# --- what they share


def test_measure_gives_what_is_asked():
    real, fake = normal(20, 3, 0), normal(20, 3, 1)
    assert list(measure(real, fake)) == ["fid", "kid", "kid_se", "precision", "recall", "density", "coverage"]
    assert list(measure(real, fake, metrics=["recall", "fid"], k=3)) == ["fid", "recall"]
    assert all(type(value) is float for value in measure(real, fake).values())
    with pytest.raises(UserError, match="unknown metric 'recal': did you mean 'recall'"):
        measure(real, fake, metrics=["recal"])


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (torch.zeros(9, 3), torch.zeros(1, 3), "FID needs at least 2 samples; fake has 1"),
        (torch.zeros(5, 3), torch.zeros(9, 3), "k=5 needs at least 6 samples; real has 5"),
        (torch.zeros(9, 3), torch.zeros(9, 4), "real features have 3 dimensions, fake ones 4"),
        (torch.zeros(9, 3, 1), torch.zeros(9, 3), r"real features must be \(N, D\), not \(9, 3, 1\)"),
        (torch.zeros(9, 3), torch.tensor([[0, torch.nan, 0]] * 2 + [[0, 0, 0]] * 7), "fake features of 2 of 9 samples"),
        (torch.full((9, 3), torch.inf), torch.zeros(9, 3), "real features of 9 of 9 samples are not finite"),
    ],
)
def test_unusable_features(real: Tensor, fake: Tensor, message: str):
    with pytest.raises(UserError, match=message):
        measure(real, fake)


def test_k_below_one():
    with pytest.raises(UserError, match="k=0 must be at least 1"):
        precision_recall_density_coverage(normal(9, 3, 0), normal(9, 3, 1), k=0)


# --- by class


def test_by_class_distinguishes_a_missing_class_from_a_confused_one() -> None:
    """Three blobs; fakes of class 0 are correct, those of 1 lie in 2, those of 2 are one point."""
    rng = torch.Generator().manual_seed(0)
    centres = 20.0 * torch.eye(3)
    classes = torch.arange(3).repeat_interleave(60)
    real = centres[classes] + torch.randn(180, 3, generator=rng)
    fake = centres[torch.tensor([0, 2, 2])[classes]] + torch.randn(180, 3, generator=rng)
    fake[120:] = centres[2] + 0.01 * torch.randn(60, 3, generator=rng)
    found = by_class(real, classes, fake, classes)
    assert set(found) == {0, 1, 2}
    assert found[0]["coverage"] > 0.8 and found[0]["accuracy"] == 1.0
    assert (found[1]["coverage"], found[1]["accuracy"]) == (0.0, 0.0)
    assert found[1]["fid"] == pytest.approx(frechet_distance(real[60:120], fake[60:120])) and found[1]["fid"] > 500
    assert found[2]["coverage"] < 0.3 and found[2]["accuracy"] == 1.0
    few = by_class(real, classes, fake[:61], classes[:61])
    assert few[1]["coverage"] is None and set(few) == {0, 1}
