"""The feature net that is trained on the data."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from mulligan.core.batch import to_float
from mulligan.core.errors import UserError
from mulligan.core.recipe import Part
from mulligan.data import Dataset, open_data
from mulligan.measure.features import feature_net
from mulligan.metrics.distances import kernel_distance
from mulligan.metrics.features import own  # noqa: F401  registers it


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Vertical and horizontal bars in noise: RGB, not square, 16 x 20."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (400, 16, 20, 3), dtype=np.uint8)
    labels = np.arange(400) % 2
    for image, label in zip(images, labels, strict=True):
        left = rng.integers(2, 13)
        image[(slice(None), slice(left, left + 3)) if label else (slice(left, left + 3), slice(None))] = 220
    path = tmp_path_factory.mktemp("bars") / "bars.npz"
    np.savez(path, images=images, labels=labels)
    return open_data(path)


def features_of(net: torch.nn.Module, data: Dataset, label: int) -> torch.Tensor:
    return net(to_float(data.records(np.flatnonzero(data.labels == label))))


@pytest.mark.parametrize("labelled", [True, False])
def test_it_distinguishes_the_classes_of_the_data(bars: Dataset, labelled: bool) -> None:
    data = bars if labelled else dataclasses.replace(bars, labels=None, classes=[], fingerprint="plain")
    _, net = feature_net(Part("self", steps=40), data)
    vertical, horizontal = features_of(net, bars, 1), features_of(net, bars, 0)
    between, _ = kernel_distance(vertical, horizontal)
    within, error = kernel_distance(vertical[::2], vertical[1::2])
    assert between > 20 * abs(within) and between > 20 * error


def test_it_is_trained_once(bars: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    _, net = feature_net(Part("self", steps=4), bars)
    monkeypatch.setattr(type(net), "learn", lambda *_: pytest.fail("it is in the cache"))
    _, again = feature_net(Part("self", steps=4), bars)
    assert again.stamp == net.stamp and "2 classes" in net.describe
    assert torch.equal(features_of(net, bars, 0), features_of(again, bars, 0))
    assert features_of(net, bars, 0).shape == (200, net.dim)


def test_a_damaged_file_is_trained_again(bars: Dataset, own_cache: Path) -> None:
    _, net = feature_net(Part("self", steps=5), bars)
    for file in own_cache.glob("self-*/net.safetensors"):
        file.write_bytes(b"no")
    assert feature_net(Part("self", steps=5), bars)[1].stamp == net.stamp


def test_other_shapes_and_kinds_are_refused(bars: Dataset) -> None:
    _, net = feature_net(Part("self", steps=4), bars)
    with pytest.raises(UserError, match="was trained on images of 3x16x20, and these are 3x16x16"):
        net(torch.zeros(2, 3, 16, 16))
    with pytest.raises(UserError, match="feature net 'self' is for image samples"):
        feature_net("self", open_data("ring"))
