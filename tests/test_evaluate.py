"""Fakes of any making, measured against real images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import mulligan as mg
from mulligan.core.errors import UserError
from mulligan.data import open_data


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 digits that are trained on, as if another toolkit had made them."""
    digits = open_data("digits")
    path, rows = tmp_path_factory.mktemp("others") / "theirs.npz", digits.train[::15]
    images = digits.images(rows).permute(0, 2, 3, 1).numpy()
    np.savez(path, images=images, labels=np.array(digits.classes)[digits.labels[rows]])
    return path


def test_images_of_any_making_are_measured(others: Path) -> None:
    found = mg.evaluate(others, data="digits")
    assert found["protocol"]["num_fake"] == 300 and found["protocol"]["num_real"] == 500
    assert found["protocol"]["checkpoint"] == "theirs.npz" and found["protocol"]["features"] == "digits"
    assert found["metrics"]["coverage"] > 0.8 and found["metrics"]["class_accuracy"] > 0.9
    assert json.loads(json.dumps(found)) == found and found["notes"] == []
    assert mg.evaluate(others, data="digits", samples=100)["protocol"]["num_fake"] == 100


def test_a_run_is_measured_as_by_itself(tmp_path: Path) -> None:
    small = {"generator.width": 8, "discriminator.width": 8, "batch": 8}
    run = mg.train("digits", out=tmp_path / "run", images=32, settings=small, quiet=True)
    assert mg.evaluate(run.path, samples=64) == run.evaluate(samples=64)
    by_others = mg.evaluate(run.path, data="digits", samples=64, features="random")
    assert by_others["protocol"]["features"] == "random"


def test_the_data_set_itself_is_noticed() -> None:
    (note,) = mg.evaluate("digits", data="digits", samples=50, features="random")["notes"]
    assert "the data set itself" in note


def test_what_cannot_be_measured_is_refused(others: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--data"):
        mg.evaluate(others)
    with pytest.raises(UserError, match="holds 300 images"):
        mg.evaluate(others, data="digits", samples=301)
    np.savez(tmp_path / "colour.npz", images=np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8))
    with pytest.raises(UserError, match=r"3x32x32.* those of digits 1x28x28; bring both"):
        mg.evaluate(tmp_path / "colour.npz", data="digits")
    both = mg.DataOptions(size=28, channels=1)
    assert mg.evaluate(tmp_path / "colour.npz", data="digits", options=both)["metrics"]["coverage"] < 0.2
