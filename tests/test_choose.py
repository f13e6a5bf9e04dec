"""What is chosen where no recipe is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import mulligan as mg
from mulligan.core.recipe import Recipe, Schedule
from mulligan.data import Dataset, open_data
from mulligan.data.images import fitted
from mulligan.models.shuffle import doublings
from mulligan.runs import choose as choosing
from mulligan.runs.build import recipe_named
from mulligan.runs.choose import choose
from mulligan.runs.order import Order


def chosen(data: Dataset, *, own: Mapping[str, Any] = MappingProxyType({}), **budget: Any) -> Recipe:
    begun = Order(data=data.name, settings=own, **budget).budgeted(recipe_named(None, own))
    recipe, _ = choose(begun, data, device="cpu", seed=0, own=own)
    return recipe


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return open_data("digits")


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that trains on 1,000 samples a second at width 32; the speed falls as the square of the width."""

    def rate(game: Any, seconds: float) -> float:
        return 1000 * (32 / game.g.net.base[0]) ** 2

    monkeypatch.setattr(choosing, "samples_per_second", rate)


@pytest.mark.usefixtures("fast")
def test_more_time_buys_wider_networks(digits: Dataset) -> None:
    widths = [chosen(digits, minutes=minutes).generator.options["width"] for minutes in (0.1, 5, 30, 120, 1e6)]
    assert widths == sorted(widths) and widths[0] == choosing.WIDTHS[0] and widths[-1] == choosing.WIDTHS[-1]
    assert len(set(widths)) > 3


@pytest.mark.parametrize(("idle", "batch"), [(1, 64), (256, 256), (10_000, 512)])
def test_a_device_with_spare_capacity_gets_larger_batches(
    idle: int, batch: int, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "samples_per_second", lambda game, _: 500 * min(game.batch, idle) ** 0.5)
    got = chosen(digits, minutes=10)
    assert got.batch == batch
    assert chosen(digits, minutes=10, own={"batch": 48}).batch == 48


def test_what_does_not_fit_into_memory_is_not_chosen(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def rate(game: Any, seconds: float) -> float:
        if game.batch * game.g.net.base[0] > 16 * 32:
            raise torch.OutOfMemoryError
        return 1e9

    monkeypatch.setattr(choosing, "samples_per_second", rate)
    got = chosen(digits, minutes=10)
    assert (got.batch, got.generator.options["width"]) == (16, 32)
    monkeypatch.undo()
    monkeypatch.setattr(choosing, "samples_per_second", lambda *_: 1e9)
    monkeypatch.setattr(choosing, "memory_size", lambda _: 1 << 20)  # this process has more than half of that
    got = chosen(digits, minutes=10)
    assert (got.batch, got.generator.options["width"]) == (64, 32)


@pytest.mark.usefixtures("fast")
def test_samples_seen_often_are_augmented(digits: Dataset) -> None:
    count = len(digits.train)
    assert chosen(digits, samples=count).augment.name == "none"
    assert chosen(digits, epochs=200).augment.name == "ada"
    assert chosen(digits, minutes=60).augment.name == "ada"


def test_the_penalty_is_proportional_to_the_pixels(digits: Dataset, tmp_path: Path) -> None:
    np.savez(tmp_path / "large.npz", images=np.random.default_rng(0).integers(0, 256, (30, 56, 56, 1), np.uint8))
    for data, weight in ((digits, 0.5), (open_data(tmp_path / "large.npz"), 2.0)):
        assert {term.weight for term in chosen(data, samples=100).terms.values()} == {weight}


def test_larger_images_get_smaller_steps(digits: Dataset, tmp_path: Path) -> None:
    np.savez(tmp_path / "large.npz", images=np.random.default_rng(0).integers(0, 256, (30, 56, 96, 1), np.uint8))
    for data, rate in ((digits, 2e-3), (open_data(tmp_path / "large.npz"), 1e-3)):
        recipe = chosen(data, samples=100)
        for player in (recipe.optimizer.generator, recipe.optimizer.discriminator):
            assert player.options["lr"] == Schedule("cosine", rate, 0.0)
    own = {"optimizer.discriminator.lr": 1e-5}
    assert chosen(digits, samples=100, own=own).optimizer == recipe_named(None, own).optimizer


@pytest.mark.parametrize(
    "own",
    [{"generator.width": 8}, {"generator": "dcgan"}, {"terms.r1": "none"}, {"terms.r1.weight": 3}, {"augment": "apa"}],
)
def test_what_the_user_set_is_left_alone(own: dict[str, Any], digits: Dataset) -> None:
    wanted, got = recipe_named(None, own), chosen(digits, own=own, epochs=100)
    if "terms" in "".join(own):
        assert got.terms.get("r1") == wanted.terms.get("r1") and got.terms["r2"].weight == 0.5
    elif "augment" in own:
        assert got.augment == wanted.augment
    else:
        assert (got.generator, got.discriminator) == (wanted.generator, wanted.discriminator)


def test_sizes_are_fitted_to_what_networks_can_halve() -> None:
    assert fitted(28, 28, 64) == (28, 28) and fitted(32, 32, 64) == (32, 32) and fitted(64, 64, 64) == (64, 64)
    assert fitted(480, 640, 64) == (64, 88) and fitted(8, 8, 64) == (16, 16)
    for most in choosing.SIDE.values():
        for height in range(1, 600, 7):
            for width in (height, height * 3 // 4 + 1, height * 2):
                doublings((3, *fitted(height, width, most)))


def test_a_folder_of_odd_sizes_needs_no_recipe_and_no_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for i in range(24):
        Image.fromarray(rng.integers(0, 256, (50, 133, 3), np.uint8)).save(tmp_path / "pictures" / f"{i}.png")
    assert mg.inspect(tmp_path / "pictures").shape == (3, 48, 136)
    run = mg.train(tmp_path / "pictures", out=tmp_path / "run", samples=64, settings={"batch": 8}, quiet=True)
    assert run.recipe.name == "auto" and run.sample(2).shape == (2, 3, 48, 136)
    assert run.description["chosen"] and all(choice["why"] for choice in run.description["chosen"])
    assert run.evaluate(samples=20)["metrics"]


def test_a_resumed_run_keeps_its_choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train() -> mg.Run:
        return mg.train("digits", out=tmp_path / "run", minutes=0.02, settings={"batch": 8}, quiet=True)

    recipe = train().recipe
    (tmp_path / "run" / "summary.json").unlink()  # as if killed before the end
    monkeypatch.setattr(choosing, "samples_per_second", lambda *_: 1e9)  # the machine is faster this time
    assert train().recipe == recipe
