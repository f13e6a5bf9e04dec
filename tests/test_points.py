"""Mixtures in a plane: the data, what is measured of them, and a game played on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import mulligan as mg
from mulligan.core.errors import UserError
from mulligan.data import open_data
from mulligan.data.points import MIXTURES
from mulligan.kinds.pictures import EDGE, PLOT, plot
from mulligan.kinds.points import PointSample
from mulligan.measure.judge import Judge


@pytest.mark.parametrize(("name", "count"), [("ring", 8), ("grid", 25)])
def test_a_mixture_is_what_it_says_and_always_the_same(name: str, count: int) -> None:
    data, again = open_data(name), open_data(name)
    mixture = MIXTURES[name]()
    assert data.sample == PointSample(shape=(2,)) and data.shape == (2,) and data.fingerprint == again.fingerprint
    points = data.records(np.arange(data.count))
    assert points.dtype == torch.float32 and points.abs().max() <= 1
    assert len(np.intersect1d(data.train, data.heldout)) == 0 and len(data.train) + len(data.heldout) == data.count
    found = data.modes.count(points, None)
    assert found["modes"] == count and found["quality"] == pytest.approx(1 - np.exp(-4.5), abs=0.002)  # within 3 std
    distance = torch.cdist(points.double(), torch.from_numpy(mixture.centres))
    assert distance.min(1).values.square().mean().sqrt().item() == pytest.approx(2**0.5 * mixture.std, rel=0.01)
    shares = np.bincount(distance.argmin(1).numpy()) / data.count
    assert shares == pytest.approx(np.full(count, 1 / count), abs=0.01)


def test_modes_and_quality_of_constructed_samples() -> None:
    mixture = MIXTURES["grid"]()
    centres = torch.from_numpy(mixture.centres)
    assert mixture.count(centres) == {"modes": 25, "quality": 1}
    off = torch.tensor([[3.1 * mixture.std, 0.0]])
    assert mixture.count(centres + off) == {"modes": 0, "quality": 0}
    assert mixture.count(torch.cat([centres[:3], centres[:1], centres + off])) == {"modes": 3, "quality": 4 / 29}


def test_labels_are_the_modes_where_asked_for() -> None:
    data = open_data("ring", labels=True)
    assert len(data.classes) == 8 and sum(data.class_counts) == data.count and open_data("ring").labels is None
    of_third = data.records(np.flatnonzero(data.labels == 2))
    assert data.modes.count(of_third, None)["modes"] == 1


def test_what_only_images_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="option of ring, which the reader 'mixture' opens: 'size'; valid: labels"):
        open_data("ring", size=32)
    with pytest.raises(UserError, match="option of grid, which the reader 'mixture' opens: 'channels'; valid: labels"):
        open_data("grid", channels=3)
    with pytest.raises(UserError, match="'ring'"):
        open_data("rung")
    for recipe in ("digits", "dcgan", "sngan", "r3gan"):
        with pytest.raises(UserError, match="is for image samples, and these are points of 2; valid generators: mlp"):
            mg.train("ring", recipe=recipe, out=tmp_path / recipe, samples=64, quiet=True)


def test_a_game_in_the_plane(tmp_path: Path) -> None:
    run = mg.train("ring", out=tmp_path / "run", samples=640, quiet=True)
    assert run.recipe.name == "points" and set(run.summary["metrics"]) >= {"modes", "quality", "coverage"}
    samples = run.sample(70, out=tmp_path / "points.npz")
    assert samples.shape == (70, 2) and samples.dtype == torch.float32
    assert np.array_equal(np.load(tmp_path / "points.npz")["points"], samples.numpy())
    run.sample(70, out=tmp_path / "points.png")
    with pytest.raises(UserError, match="points are not written as a folder"):
        run.sample(70, out=tmp_path / "folder")
    assert run.evaluate(samples=100)["metrics"]["modes"] >= 0
    with pytest.raises(UserError, match=r"'random' is for image samples, and these are points of 2; .*: plain"):
        Judge(open_data("ring"), "random", num_fake=10)


def test_a_plot_shows_points_where_they_are() -> None:
    picture = np.asarray(plot(torch.tensor([[0.0, 0.0], [EDGE, EDGE], [5.0, -5.0]])))
    dark = picture < 255
    assert dark[PLOT // 2 - 3 : PLOT // 2 + 3, PLOT // 2 - 3 : PLOT // 2 + 3].any()
    assert dark[:4, -4:].any() and dark[-4:, -4:].any()  # up is up; what lies beyond is at the edge
    assert dark.sum() == 27


@pytest.mark.parametrize("name", list(MIXTURES))
def test_inspect_says_what_it_is(name: str) -> None:
    checkup = mg.inspect(name).checkup
    assert checkup.shape == {"numbers": 2} and "Gaussians" in checkup.plan[0]
