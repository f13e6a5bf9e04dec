"""Memory: what training takes is estimated, and what is missing is said in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import mulligan as mg
from mulligan.core.errors import UserError
from mulligan.data import open_data
from mulligan.engine import memory
from mulligan.engine.device import DeviceSetting
from mulligan.engine.loop import State, play_step
from mulligan.engine.memory import explain_full_memory, least_memory, peak_memory
from mulligan.runs.build import build_game, recipe_named

CPU = torch.device("cpu")


def a_game(recipe: str, **settings: object):
    recipe = recipe_named(recipe).with_set({path.replace("__", "."): value for path, value in settings.items()})
    return build_game(recipe, open_data("digits"), seed=0, setting=DeviceSetting(CPU))


def test_a_pass_takes_memory_by_the_sample() -> None:
    whole, half, parts = (a_game("stylegan2", batch=batch, accumulate=n) for batch, n in ((32, 1), (16, 1), (32, 2)))
    (least, passing), (less, half_passing) = least_memory(whole), least_memory(half)
    assert passing == pytest.approx(2 * half_passing, rel=0.01)
    assert least - passing == less - half_passing  # weights and what goes with them
    assert least_memory(parts) == (less, half_passing)


def test_a_dense_layer_is_counted_by_hand() -> None:
    game = a_game("gan", generator__widths="7", discriminator__widths="5", discriminator__pieces=1, batch=64)
    least, passing = least_memory(game)
    weights = [sum(each.nbytes for each in net.parameters()) for net in (game.g.net, game.d.net)]
    assert least - passing == 5 * weights[0] + 4 * weights[1]
    noise = game.z_shape[0]
    floats = noise + 7 + 784 + 5  # the input of each layer, and the output of G
    assert 4 * 64 * floats <= passing <= 2 * 4 * 64 * floats


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read the way of Linux")
def test_the_estimate_is_no_more_than_what_is_taken() -> None:
    game = a_game("r3gan")
    least, _ = least_memory(game)
    before = peak_memory(CPU)
    play_step(game, State(), 1 << 40)
    assert 100 << 20 < least < peak_memory(CPU) - before


def test_too_large_a_recipe_is_refused_before_it_is_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = {"recipe": "r3gan", "samples": 64, "out": tmp_path / "run", "quiet": True, "features": "random"}
    monkeypatch.setattr(memory, "memory_size", lambda device: 200 << 20)
    with pytest.raises(UserError, match=r"GB of memory at least.* give --set accumulate=\d+") as refused:
        mg.train("digits", **order)
    assert "\n" not in str(refused.value) and not (tmp_path / "run").exists()
    with pytest.raises(UserError, match=r"for a batch of 1000000000, .* accumulate=\d+"):  # in a moment
        mg.train("digits", **order, settings={"batch": 10**9})
    monkeypatch.setattr(memory, "memory_size", lambda device: 4 << 20)
    with pytest.raises(UserError, match="use a smaller one"):
        mg.train("digits", **order)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_memory_that_runs_out_is_said_in_one_line(error: Exception) -> None:
    with pytest.raises(UserError, match="is full; --set accumulate=2"), explain_full_memory():
        raise error
    with pytest.raises(RuntimeError, match="another"), explain_full_memory():
        raise RuntimeError("another")


def test_batch_norm_of_a_single_sample_is_refused(tmp_path: Path) -> None:
    settings = {"batch": 8, "accumulate": 8}
    with pytest.raises(UserError, match="batch norm needs more than 1 sample at a time"):
        mg.train("digits", recipe="dcgan", settings=settings, samples=64, out=tmp_path / "run", quiet=True)


def test_samples_of_another_shape_are_refused_before_the_discriminator_gets_them() -> None:
    game = a_game("dcgan", batch=8)
    game.g.net.register_forward_hook(lambda net, given, made: made.repeat(1, 3, 1, 1))
    with pytest.raises(UserError, match=r"makes samples of shape \(3, 28, 28\), but the real ones .* \(1, 28, 28\)"):
        memory.refuse_too_large(game)
