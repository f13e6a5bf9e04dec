"""Stacked MNIST, three digits in an image: the data, the count of its thousand modes, and a game on it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import mulligan as mg
from mulligan.core import registry
from mulligan.core.batch import to_float
from mulligan.core.errors import UserError
from mulligan.data import Dataset, open_data
from mulligan.data.stacked import count_and_divergence, mode_of, positions_among
from mulligan.measure.judge import Judge
from mulligan.runs.parts import load_parts

load_parts()


@pytest.fixture(scope="module")
def data() -> Dataset:
    return open_data("stacked")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return open_data("digits")


@pytest.fixture(scope="module")
def positions(digits: Dataset) -> np.ndarray:
    """(N, 3): where each picture's three digits are among the digits."""
    return positions_among(digits)


def test_a_picture_is_three_digits(data: Dataset, digits: Dataset, positions: np.ndarray) -> None:
    assert data.shape == (3, 28, 28) and len(data.train) == 50_000 and len(data.heldout) == 5_000
    images = data.records([7, 3, 7])
    assert images.dtype == torch.uint8 and images.is_contiguous(memory_format=torch.channels_last)
    for image, index in zip(images, [7, 3, 7], strict=True):
        for channel, position in zip(image, positions[index], strict=True):
            assert torch.equal(channel, digits.records([position])[0, 0])
    assert data.records([]).shape == (0, 3, 28, 28)


def test_it_is_always_the_same_and_its_parts_share_no_digit(
    data: Dataset, digits: Dataset, positions: np.ndarray
) -> None:
    assert open_data("stacked").fingerprint == data.fingerprint
    assert open_data("stacked", size=32).fingerprint != data.fingerprint
    assert positions[:2].tolist() == [[3885, 4365, 2310], [1153, 3828, 2868]]
    train, heldout = positions[data.train], positions[data.heldout]
    assert set(train.ravel()) == set(digits.train) and set(heldout.ravel()) == set(digits.heldout)
    assert len(np.unique(positions, axis=0)) == data.count - data.checkup.duplicates
    assert sorted([*data.train, *data.heldout]) == list(range(data.count))


def test_its_digits_are_evenly_and_independently_drawn(data: Dataset, digits: Dataset, positions: np.ndarray) -> None:
    assert digits.labels is not None
    modes = digits.labels[positions[data.train]] @ [100, 10, 1]
    counts = np.bincount(modes, minlength=1000)
    assert counts.min() > 0
    assert (np.square(counts - 50) / 50).sum() == pytest.approx(999, abs=5 * math.sqrt(2 * 999))  # chi-squared


def test_modes_are_what_the_three_channels_show(data: Dataset, digits: Dataset, positions: np.ndarray) -> None:
    assert digits.labels is not None
    some = data.train[:600]
    true = torch.from_numpy(digits.labels[positions[some]] @ [100, 10, 1])
    read = mode_of(data.records(some))
    assert (read == true).double().mean() > 0.98  # the net has learnt from these digits
    for channels in ([0, 1, 2], [2, 0, 1]):
        assert mode_of(data.records(some[:1])[:, channels]).item() == int(
            "".join(str(digits.labels[positions[some[0], channel]]) for channel in channels)
        )


def test_a_perfect_sampler_finds_what_chance_lets_it(data: Dataset) -> None:
    count = 1_500
    found = data.modes.count(data.records(data.train[:count]), None)
    empty = math.exp(-count / 1000)
    assert found["modes"] == pytest.approx(1000 * (1 - empty), abs=5 * math.sqrt(1000 * empty * (1 - empty)))
    assert found["kl"] == pytest.approx(999 / (2 * count), abs=0.05)


def test_a_collapsed_one_finds_a_single_mode(data: Dataset) -> None:
    found = data.modes.count(data.records([11] * 50), None)
    assert found == {"modes": 1, "kl": pytest.approx(math.log(1000))}


@pytest.mark.parametrize(
    ("counts", "modes", "kl"),
    [
        ([5] * 1000, 1000, 0.0),
        ([0] * 999 + [7], 1, math.log(1000)),
        ([3] * 250 + [0] * 750, 250, math.log(4)),
        ([3, 1, 0, 0], 2, 0.75 * math.log(3) + 0.25 * math.log(1)),
    ],
)
def test_divergence_from_equally_often(counts: list[int], modes: int, kl: float) -> None:
    assert count_and_divergence(torch.tensor(counts)) == {"modes": modes, "kl": pytest.approx(kl, abs=1e-12)}


def test_features_are_those_of_each_channel(data: Dataset) -> None:
    net, one = registry.features["digits-by-channel"](), registry.features["digits"]()
    images = to_float(data.records(range(5)))
    channels = [one(images[:, each : each + 1]) for each in range(3)]
    torch.testing.assert_close(net(images), torch.cat(channels, 1))
    assert torch.equal(mode_of(data.records(range(5)), net(images)), mode_of(data.records(range(5))))
    assert Judge(data, num_fake=8, most=8).protocol.features == "digits-by-channel"


def test_what_does_not_go_with_it_is_refused() -> None:
    with pytest.raises(UserError, match="the reader 'stacked' opens: 'labels'; valid: channels, fit, size"):
        open_data("stacked", labels=True)
    with pytest.raises(UserError, match="reader 'stacked': channels=1 is not valid"):
        open_data("stacked", channels=1)
    assert open_data("stacked", channels=3).shape == (3, 28, 28)
    with pytest.raises(UserError, match="'stacked'"):
        open_data("staked")
    assert open_data("stacked", size=16).records([0]).shape == (1, 3, 16, 16)


def test_a_game_on_it(tmp_path: Path) -> None:
    small = {"generator.width": 8, "discriminator.width": 8, "batch": 8}
    run = mg.train("stacked", out=tmp_path / "run", samples=8, settings=small, quiet=True)
    metrics = run.summary["metrics"]
    assert 1 <= metrics["modes"] <= 1000 and 0 < metrics["kl"] <= math.log(1000) and "coverage" in metrics
    assert run.evaluate(features="random", samples=100)["metrics"]["modes"] <= 100


def test_inspect_says_what_it_is() -> None:
    plan = mg.inspect("stacked").checkup.plan
    assert "50,000 images, RGB, 28 x 28" in plan[0] and "500 digits" in plan[1]
