"""Costly features are taken once of the same pixels."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mulligan.metrics import kept as shelf
from mulligan.metrics.kept import Kept
from mulligan.metrics.protocol import extract


class Counting(nn.Module):
    """Means by channel; counts the images it saw."""

    dim, stamp, describe, resizing, block = 3, "0" * 12, "counting", "as they are", 4

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return images.mean((2, 3))


def pictures(count: int, seed: int) -> Tensor:
    return torch.randint(0, 256, (count, 3, 5, 5), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_a_killed_extraction_goes_on_where_it_was(tmp_path: Path) -> None:
    images, net = pictures(10, 0), Counting()
    whole = extract(net, [images])
    assert net.seen == 10

    def until(block: int):
        for at, some in enumerate(images.split(4)):
            if at == block:
                raise KeyboardInterrupt
            yield some

    with pytest.raises(KeyboardInterrupt):
        extract(net, until(2), kept=Kept(tmp_path))
    assert net.seen == 18
    counted: list[int] = []
    assert torch.equal(extract(net, [images], kept=Kept(tmp_path), seen=counted.append), whole)
    assert net.seen == 20 and sum(counted) == 10


def test_other_pixels_another_net_or_a_damaged_file_are_looked_at(tmp_path: Path) -> None:
    images, net = pictures(4, 0), Counting()
    extract(net, [images], kept=Kept(tmp_path))
    other = images.clone()
    other[3, 2, 4, 4] ^= 1
    extract(net, [other], kept=Kept(tmp_path))
    assert net.seen == 8
    net.stamp = "1" * 12
    extract(net, [images], kept=Kept(tmp_path))
    assert net.seen == 12
    for path in tmp_path.iterdir():
        path.write_bytes(b"cut off")
    assert torch.equal(extract(net, [images], kept=Kept(tmp_path)), extract(net, [images]))


def test_what_was_longest_not_asked_for_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Counting()
    for seed in range(3):
        extract(net, [pictures(4, seed)], kept=Kept(tmp_path))
    files = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    for age, path in enumerate(reversed(files)):
        os.utime(path, (1000 - age, 1000 - age))
    monkeypatch.setattr(shelf, "MOST", sum(path.stat().st_size for path in files[1:]))
    Kept(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(files[1:])
