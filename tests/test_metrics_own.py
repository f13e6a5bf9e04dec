"""The feature net that learns from the data."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from mulligan.core.batch import to_float
from mulligan.core.errors import UserError
from mulligan.core.recipe import Part
from mulligan.data import ImageData, open_data
from mulligan.measure.features import feature_net
from mulligan.metrics.distances import kernel_distance
from mulligan.runs.build import load_parts

load_parts()


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> ImageData:
    """Bars that stand, and bars that lie, in noise: RGB, not square, 16 x 20."""
    dice = np.random.default_rng(0)
    images = dice.integers(0, 60, (400, 16, 20, 3), dtype=np.uint8)
    labels = np.arange(400) % 2
    for image, label in zip(images, labels, strict=True):
        at = dice.integers(2, 13)
        image[(slice(None), slice(at, at + 3)) if label else (slice(at, at + 3), slice(None))] = 220
    path = tmp_path_factory.mktemp("bars") / "bars.npz"
    np.savez(path, images=images, labels=labels)
    return open_data(path)


def seen(net: torch.nn.Module, data: ImageData, label: int) -> torch.Tensor:
    return net(to_float(data.images(np.flatnonzero(data.labels == label))))


@pytest.mark.parametrize("labelled", [True, False])
def test_it_tells_apart_what_the_data_hold(bars: ImageData, labelled: bool) -> None:
    data = bars if labelled else dataclasses.replace(bars, labels=None, classes=[], fingerprint="plain")
    _, net = feature_net(Part("self", steps=40), data)
    stand, lie = seen(net, bars, 1), seen(net, bars, 0)
    apart, _ = kernel_distance(stand, lie)
    alike, error = kernel_distance(stand[::2], stand[1::2])
    assert apart > 20 * abs(alike) and apart > 20 * error


def test_it_learns_once_and_is_one_net(bars: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    _, net = feature_net(Part("self", steps=4), bars)
    monkeypatch.setattr(type(net), "learn", lambda *_: pytest.fail("it is in the cache"))
    _, again = feature_net(Part("self", steps=4), bars)
    assert again.stamp == net.stamp and "2 classes" in net.describe
    assert torch.equal(seen(net, bars, 0), seen(again, bars, 0))
    assert seen(net, bars, 0).shape == (200, net.dim)


def test_a_damaged_file_is_learnt_anew(bars: ImageData, own_cache: Path) -> None:
    _, net = feature_net(Part("self", steps=5), bars)
    for file in own_cache.glob("self-*/net.safetensors"):
        file.write_bytes(b"no")
    assert feature_net(Part("self", steps=5), bars)[1].stamp == net.stamp


def test_what_it_did_not_learn_is_refused(bars: ImageData) -> None:
    _, net = feature_net(Part("self", steps=4), bars)
    with pytest.raises(UserError, match="has learnt images of 3x16x20, and these are 3x16x16"):
        net(torch.zeros(2, 3, 16, 16))
    with pytest.raises(UserError, match="learns from pictures"):
        feature_net("self", open_data("ring"))
