"""Copies of training samples are found, and new samples are not reported as copies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from mulligan.core.errors import UserError
from mulligan.metrics.copying import (
    authenticity,
    cells_of,
    copied,
    copying,
    duplicates,
    hash_of,
    image_duplicates,
    nearest_training,
)
from mulligan.metrics.pairwise import nearest


def normal(count: int, seed: int, width: int = 8) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def planted(train: torch.Tensor, seed: int) -> torch.Tensor:
    """Half of them are training samples with a little noise."""
    half = len(train) // 4
    return torch.cat([train[:half] + 0.01 * normal(half, seed + 100), normal(half, seed + 200)])


def test_nearest_is_the_naive_one() -> None:
    points, queries = normal(70, 0) + 50, normal(30, 1) + 50
    distances, indices = nearest(queries, points, 3)
    naive = cdist(queries.double().numpy(), points.double().numpy())
    assert np.allclose(distances.numpy(), np.sort(naive, 1)[:, :3], atol=1e-9)
    assert np.array_equal(indices.numpy(), naive.argsort(1)[:, :3])


@pytest.mark.parametrize("cells", [1, 4])
@pytest.mark.parametrize("seed", range(5))
def test_a_planted_copier_is_caught_and_a_fresh_half_is_not(seed: int, cells: int) -> None:
    train, heldout, fresh = normal(400, seed), normal(200, seed + 10), normal(200, seed + 20)
    sets = heldout, planted(train, seed), fresh
    real, copies, new = nearest_training(train, *sets)
    real_cells, *fake_cells = cells_of(train, cells, *sets)
    caught, spared = (
        copying(real, fake, cells=None if cells == 1 else (real_cells, own))
        for fake, own in zip((copies, new), fake_cells, strict=True)
    )
    assert caught.z < -3 and caught.p < 1e-3 and spared.p > 0.01
    assert copied(real, copies) > 0.45 and copied(real, new) < 0.06
    assert authenticity(copies) < authenticity(new) - 0.15


def test_the_p_value_is_uniform_for_new_samples() -> None:
    """For new fakes, p is below 0.1 in a tenth of the cases."""
    drawn = ([normal(count, 3 * i + j) for j, count in enumerate((100, 60, 60))] for i in range(200))
    values = [copying(*nearest_training(*sets)).p for sets in drawn]
    assert 0.04 < np.mean(np.array(values) < 0.1) < 0.2


def test_authenticity_is_the_naive_one_and_equal_for_new_samples() -> None:
    train, fake = normal(300, 0), normal(200, 1)
    between, own = cdist(fake, train), cdist(train, train) + np.diag([np.inf] * 300)
    naive = [row.min() >= own[row.argmin()].min() for row in between]
    assert authenticity(*nearest_training(train, fake)) == pytest.approx(np.mean(naive))
    large = normal(2000, 2)
    one, another = nearest_training(large, normal(1000, 3), normal(1000, 4))
    assert authenticity(one) == pytest.approx(authenticity(another), abs=0.07)


def test_unusable_features_are_refused() -> None:
    with pytest.raises(UserError, match="not finite"):
        nearest_training(torch.full((5, 2), torch.nan), normal(5, 0, 2), normal(5, 1, 2))
    with pytest.raises(UserError, match="dimensions"):
        nearest_training(normal(50, 0, 3), normal(50, 0, 4), normal(50, 0, 4))


def pictures(count: int, seed: int) -> torch.Tensor:
    """Smooth images."""
    small = torch.rand(count, 3, 7, 7, generator=torch.Generator().manual_seed(seed))
    large = torch.nn.functional.interpolate(small, (28, 28), mode="bilinear")
    return (large * 255).round().byte()


def test_duplicates_are_found_as_they_are_mirrored_shifted_and_noisy() -> None:
    others, images = pictures(200, 0), pictures(40, 1)
    images[0], images[1] = others[17], others[18].flip(-1)
    images[2], images[3] = others[19].roll(2, -1), others[20].roll(-1, -2).flip(-1)
    images[4] = (others[21].int() + torch.randint(-3, 4, (3, 28, 28))).clamp(0, 255).byte()
    found = image_duplicates(images, others)
    assert [(i, other) for i, other, _ in found] == [(0, 17), (1, 18), (2, 19), (3, 20), (4, 21)]
    assert [difference == 0 for *_, difference in found] == [True, True, True, True, False]
    assert image_duplicates(pictures(40, 2), others) == []
    assert duplicates(images, others) == [(0, 17, 0.0)], "byte for byte"


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.float32, torch.int64])
@pytest.mark.parametrize("shape", [(5,), (2, 7), (3, 2, 4, 4)], ids=str)
def test_duplicates_of_any_kind_are_equal_bytes(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    records = torch.arange(20).reshape(20, *[1] * len(shape)).expand(20, *shape).to(dtype)
    others = torch.cat([records[10:].flip(0), records[10:]])
    assert duplicates(records, others) == [(i, 19 - i, 0.0) for i in range(10, 20)], "the first of several"
    strided = torch.stack([records, records], -1)[..., 0]
    assert hash_of(strided[3]) == hash_of(records[3]) != hash_of(records[4])
