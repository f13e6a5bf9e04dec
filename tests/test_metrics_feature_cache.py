"""Costly features of the same records are computed once."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mulligan.core.batch import to_float
from mulligan.metrics import feature_cache
from mulligan.metrics.feature_cache import FeatureCache
from mulligan.metrics.features.net import FeatureNet
from mulligan.metrics.protocol import extract


class Counting(FeatureNet):
    """Means by channel; counts the images that it was given."""

    dim, stamp, describe, resizing, block = 3, "0" * 12, "counting", "as they are", 4

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def forward(self, images: Tensor) -> Tensor:
        self.count += len(images)
        return images.mean((2, 3))


features = functools.partial(extract, to_net=to_float)


def pictures(count: int, seed: int) -> Tensor:
    return torch.randint(0, 256, (count, 3, 5, 5), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_an_interrupted_extraction_continues_where_it_was(tmp_path: Path) -> None:
    images, net = pictures(10, 0), Counting()
    whole = features(net, [images])
    assert net.count == 10

    def until(block: int):
        for at, some in enumerate(images.split(4)):
            if at == block:
                raise KeyboardInterrupt
            yield some

    with pytest.raises(KeyboardInterrupt):
        features(net, until(2), cache=FeatureCache(tmp_path))
    assert net.count == 18
    counted: list[int] = []
    assert torch.equal(features(net, [images], cache=FeatureCache(tmp_path), progress=counted.append), whole)
    assert net.count == 20 and sum(counted) == 10


def test_other_pixels_another_net_or_a_damaged_file_are_computed_again(tmp_path: Path) -> None:
    images, net = pictures(4, 0), Counting()
    features(net, [images], cache=FeatureCache(tmp_path))
    other = images.clone()
    other[3, 2, 4, 4] ^= 1
    features(net, [other], cache=FeatureCache(tmp_path))
    assert net.count == 8
    net.stamp = "1" * 12
    features(net, [images], cache=FeatureCache(tmp_path))
    assert net.count == 12
    for path in tmp_path.iterdir():
        path.write_bytes(b"cut off")
    assert torch.equal(features(net, [images], cache=FeatureCache(tmp_path)), features(net, [images]))


def test_the_least_recently_used_files_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Counting()
    for seed in range(3):
        features(net, [pictures(4, seed)], cache=FeatureCache(tmp_path))
    files = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    for age, path in enumerate(reversed(files)):
        os.utime(path, (1000 - age, 1000 - age))
    monkeypatch.setattr(feature_cache, "MOST", sum(path.stat().st_size for path in files[1:]))
    FeatureCache(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(files[1:])


@pytest.mark.parametrize("dtype", [torch.int16, torch.float32, torch.int64])
def test_records_of_any_dtype_and_shape_are_cached(tmp_path: Path, dtype: torch.dtype) -> None:
    class Sums(FeatureNet):
        stamp, dim, calls = "2" * 12, 1, 0

        def forward(self, samples: Tensor) -> Tensor:
            self.calls += 1
            return samples.flatten(1).sum(1, keepdim=True)

    net, records = Sums(), torch.arange(24).reshape(4, 6).to(dtype)
    first = extract(net, [records], to_net=Tensor.float, cache=FeatureCache(tmp_path))
    assert torch.equal(extract(net, [records], to_net=Tensor.float, cache=FeatureCache(tmp_path)), first)
    assert net.calls == 1 and first[:, 0].tolist() == [15, 51, 87, 123]
