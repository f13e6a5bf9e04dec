"""Copies of what was trained on are found, and what is new is not called one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from mulligan.core.errors import UserError
from mulligan.metrics.copying import authenticity, beside, cells_of, copied, copying, duplicates
from mulligan.metrics.pairs import nearest


def normal(count: int, seed: int, width: int = 8) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def planted(train: torch.Tensor, seed: int) -> torch.Tensor:
    """Half of them are training images, but for a little noise."""
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
    real, copies, new = beside(train, *sets)
    real_in, *fakes_in = cells_of(train, cells, *sets)
    caught, spared = (
        copying(real, fake, cells=None if cells == 1 else (real_in, fake_in))
        for fake, fake_in in zip((copies, new), fakes_in, strict=True)
    )
    assert caught.z < -3 and caught.p < 1e-3 and spared.p > 0.01
    assert copied(real, copies) > 0.45 and copied(real, new) < 0.06
    assert authenticity(copies) < authenticity(new) - 0.15


def test_chance_is_what_it_says() -> None:
    """Of fakes that are new, p is below a tenth in a tenth of the cases."""
    chances = [copying(*beside(normal(100, 3 * i), normal(60, 3 * i + 1), normal(60, 3 * i + 2))).p for i in range(200)]
    assert 0.04 < np.mean(np.array(chances) < 0.1) < 0.2


def test_authenticity_is_the_naive_one_and_that_of_new_images_is_theirs() -> None:
    train, fake = normal(300, 0), normal(200, 1)
    between, own = cdist(fake, train), cdist(train, train) + np.diag([np.inf] * 300)
    naive = [row.min() >= own[row.argmin()].min() for row in between]
    assert authenticity(*beside(train, fake)) == pytest.approx(np.mean(naive))
    large = normal(2000, 2)
    one, another = beside(large, normal(1000, 3), normal(1000, 4))
    assert authenticity(one) == pytest.approx(authenticity(another), abs=0.07)


def test_too_few_or_others_are_refused() -> None:
    with pytest.raises(UserError, match="not finite"):
        beside(torch.full((5, 2), torch.nan), normal(5, 0, 2), normal(5, 1, 2))
    with pytest.raises(UserError, match="dimensions"):
        beside(normal(50, 0, 3), normal(50, 0, 4), normal(50, 0, 4))


def pictures(count: int, seed: int) -> torch.Tensor:
    """Smooth ones, as pictures are."""
    small = torch.rand(count, 3, 7, 7, generator=torch.Generator().manual_seed(seed))
    large = torch.nn.functional.interpolate(small, (28, 28), mode="bilinear")
    return (large * 255).round().byte()


def test_duplicates_are_found_as_they_are_mirrored_shifted_and_noisy() -> None:
    others, images = pictures(200, 0), pictures(40, 1)
    images[0], images[1] = others[17], others[18].flip(-1)
    images[2], images[3] = others[19].roll(2, -1), others[20].roll(-1, -2).flip(-1)
    images[4] = (others[21].int() + torch.randint(-3, 4, (3, 28, 28))).clamp(0, 255).byte()
    found = duplicates(images, others)
    assert [(i, there) for i, there, _ in found] == [(0, 17), (1, 18), (2, 19), (3, 20), (4, 21)]
    assert [differs == 0 for *_, differs in found] == [True, True, True, True, False]
    assert duplicates(pictures(40, 2), others) == []
