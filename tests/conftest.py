"""What several tests stand on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import mulligan  # isort: skip  # noqa: F401  before torch is: it says how threads wait
import pytest
import torch

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests decode into a cache of their own, also in the processes they start."""
    cache = tmp_path_factory.mktemp("cache")
    os.environ["MULLIGAN_CACHE"] = str(cache)
    return cache


@pytest.fixture(scope="session", autouse=True)
def small_grids() -> Iterator[None]:
    """Pictures of noise take longest to write of all that a run of a few steps does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mulligan.kinds.image.ImageSample.on_sheet", 4)
        yield
