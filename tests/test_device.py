"""Devices: fp16 with its loss scale, batches that are prepared ahead, layouts, and what may be compiled."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from test_loop import Quiet, run, same, weights
from toys import HINGE, NO_COND, toy_game

from mulligan.core.batch import Batch
from mulligan.core.errors import UserError
from mulligan.core.recipe import Term
from mulligan.core.run import RunFolder
from mulligan.core.step import LatentUpdate, Loss, Penalty
from mulligan.engine import checkpoint
from mulligan.engine.ahead import Ahead, prepared_ahead
from mulligan.engine.detectors import diagnose, history_of
from mulligan.engine.device import DeviceSetting, device_setting, may_compile, pick_device, pick_precision
from mulligan.engine.journal import Averages, Journal
from mulligan.engine.loop import Game, State, play_step, restore, saved_state

CPU = torch.device("cpu")


def scaled_game(**settings) -> Game:
    """A toy game whose first gradients overflow: it halves its loss scale until they do not, and now and then later."""
    large = Loss(d=lambda real, fake: 4096 * HINGE.d(real, fake), g=lambda fake: 4096 * HINGE.g(fake))
    game = toy_game(loss=large, **settings)
    for player in (game.g, game.d):
        player.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=5)
    return game


class Written(Quiet):
    """An observer that writes a row for every step."""

    def __init__(self, folder: Path, leave_after: int | None = None) -> None:
        super().__init__(folder, leave_after)
        self.journal, self.averages, self.rows = Journal(RunFolder(folder)), Averages(), []

    def report(self, state, report):
        super().report(state, report)
        self.averages.add(report)
        self.rows.append(self.journal.write("progress", state, self.averages.take() | {"d_turns": 1}))


def test_gradients_that_overflow_are_skipped_and_training_goes_on(tmp_path: Path) -> None:
    game, observer = scaled_game(), Written(tmp_path)
    before = weights(game)
    assert run(game, 40, observer).status == "finished"
    skipped = [row["d/skipped"] for row in observer.rows]
    assert skipped[:3] == [1.0] * 3 and set(skipped[-8:]) == {0.0, 1.0} and sum(skipped) < 25
    for row in observer.rows:
        assert ("d/gradient" in row) == (row["d/skipped"] == 0), "the norm of what was skipped is left out"
        assert not any(value in ("nan", "inf") for value in row.values())
    for count in (1, 4, 12, 40):
        assert diagnose(history_of(observer.rows[:count], 10**9)) is None
    after = weights(game)
    assert not any(torch.equal(before[name], after[name]) for name in before if name.endswith("weight"))
    assert all(tensor.isfinite().all() for tensor in after.values())
    assert 0 < game.d.scaler.get_scale() < 2.0**127


def test_averages_leave_skipped_steps_out() -> None:
    averages = Averages()
    for norm in (torch.ones(1), torch.empty(0), torch.full((1,), 3.0)):
        averages.add({"d/gradient": norm, "d/skipped": torch.tensor([float(len(norm) == 0)])})
    again = Averages(averages.saved())
    assert averages.take() == again.take() == {"d/gradient": 2.0, "d/skipped": pytest.approx(1 / 3)}
    averages.add({"d/gradient": torch.empty(0)})
    assert averages.take() == {}


@pytest.mark.parametrize("broken_at", [2, 9, 20])
def test_a_game_with_a_loss_scale_goes_on_bit_for_bit(tmp_path: Path, broken_at: int) -> None:
    """Left while it still skips, just after, and where the scale has grown again."""
    whole = scaled_game(dropout=0.3)
    run(whole, 26)
    broken = scaled_game(dropout=0.3)
    assert run(broken, 26, Quiet(tmp_path, leave_after=broken_at)).status == "interrupted"
    scales = {side: player.scaler.state_dict() for side, player in (("g", broken.g), ("d", broken.d))}
    found, _ = checkpoint.read_last(tmp_path)
    game = scaled_game(dropout=0.3)
    state = restore(game, found)
    assert state.scalers == scales == {"g": game.g.scaler.state_dict(), "d": game.d.scaler.state_dict()}
    run(game, 26, state=state)
    assert same(weights(game), weights(whole)) and game.d.scaler.state_dict() == whole.d.scaler.state_dict()


def test_without_half_precision_nothing_is_said_of_it() -> None:
    game = toy_game()
    assert "d/skipped" not in play_step(game, State(), 100)
    assert saved_state(game, State())["scalers"] == {}


def test_a_loss_scale_that_never_settles_is_said_plainly(tmp_path: Path) -> None:
    broken = Penalty("d", lambda step: (step.on_real.logits[0] * 0).sqrt())  # 0 / 0 in every gradient, 0 in the loss
    game, observer = scaled_game(rules=[("own", Term(1.0), broken)]), Written(tmp_path)
    run(game, 60, observer)
    assert diagnose(history_of(observer.rows[:45], 10**9)) is None
    found = diagnose(history_of(observer.rows, 10**9))
    assert found is not None and found[0].name == "overflow in half precision" and found[0].grave
    assert "D's gradient overflowed in each of the last 59 steps" in found[1] and "precision=bf16" in found[0].hint


def stepped(batch_at, steps: int, batch: int = 4) -> list[Batch]:
    return [batch_at(step * batch, batch) for step in range(steps)]


def test_batches_prepared_ahead_are_the_same_and_touch_no_global_rng() -> None:
    def train_batch(position: int, count: int) -> Batch:
        rng = torch.Generator().manual_seed(position)
        return Batch(torch.rand(count, 3, generator=rng), NO_COND)

    ahead = Ahead(train_batch, CPU)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for mine, theirs in zip(stepped(ahead, 6), stepped(train_batch, 6), strict=True):
        assert torch.equal(mine.real, theirs.real)
    assert torch.equal(ahead(0, 2).real, train_batch(0, 2).real), "out of turn, as a probe asks"
    assert torch.equal(ahead(24, 4).real, train_batch(24, 4).real), "and back"
    ahead.close()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("settings", [{}, {"accumulate": 2, "d_turns": 2}, {"share_fakes": False}], ids=str)
def test_a_game_prepared_ahead_is_the_same_game(settings: dict) -> None:
    plain, ahead = toy_game(dropout=0.3, **settings), toy_game(dropout=0.3, **settings)
    asked: list[int] = []
    batch_at = ahead.train_batch
    ahead.train_batch = Ahead(lambda at, n: asked.append(at) or batch_at(at, n), CPU)
    run(plain, 5), run(ahead, 5)
    ahead.train_batch.close()
    assert same(weights(plain), weights(ahead))
    assert len(asked) == len(set(asked)), "no batch was prepared twice"


def test_the_next_batch_is_prepared_meanwhile() -> None:
    begun = threading.Event()

    def train_batch(position: int, count: int) -> Batch:
        if position == 4:
            begun.set()
        return Batch(torch.zeros(count, 1), NO_COND)

    ahead = Ahead(train_batch, CPU)
    ahead(0, 4)
    assert begun.wait(5), "nobody has asked for it yet"
    ahead.close()


def test_errors_of_the_thread_reach_the_caller_and_it_goes_on() -> None:
    def train_batch(position: int, count: int) -> Batch:
        if position == 4:
            raise UserError("the disk is gone")
        return Batch(torch.full((count,), float(position)), NO_COND)

    ahead = Ahead(train_batch, CPU)
    ahead(0, 4)
    with pytest.raises(UserError, match="the disk is gone"):
        ahead(4, 4)
    assert ahead(8, 4).real[0] == 8
    ahead.close()


def test_an_interrupt_leaves_no_thread_behind() -> None:
    """Ctrl-C while waiting for a batch; afterwards closing does not wait for it either."""
    release = threading.Event()

    def train_batch(position: int, count: int) -> Batch:
        release.wait(10)
        return Batch(torch.zeros(count), NO_COND)

    ahead = Ahead(train_batch, CPU)
    if sys.platform != "win32":
        import signal

        timer = threading.Timer(0.2, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT))
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore Ctrl-C
        timer.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                ahead(0, 4)
        finally:
            signal.signal(signal.SIGINT, before)
    begun = time.monotonic()
    ahead.close()
    assert time.monotonic() - begun < 1
    release.set()
    deadline = time.monotonic() + 5
    while any(each.name.startswith("ahead") for each in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(each.name.startswith("ahead") for each in threading.enumerate())


def test_dealing_ahead_is_for_gpus() -> None:
    batch_at = toy_game().train_batch
    assert prepared_ahead(batch_at, CPU) is batch_at
    assert isinstance(prepared_ahead(batch_at, torch.device("cuda")), Ahead)


def test_devices_and_precisions_that_are_not_here_are_refused_in_a_line() -> None:
    assert pick_device("cpu") == CPU and pick_precision("auto", CPU) == "fp32"
    for refused, match in (
        (lambda: pick_device("tpu"), r"--device tpu: valid: auto, cpu, cuda, mps"),
        (lambda: pick_precision("fp16", CPU), "precision=fp16 needs a CUDA device, this run is on cpu"),
    ):
        with pytest.raises(UserError, match=match):
            refused()
    setting = device_setting("cpu", "bf16")
    assert setting == DeviceSetting(CPU, "bf16") and not setting.scaler().is_enabled()
    with setting.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with DeviceSetting(CPU).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_layouts_follow_the_axes_of_a_sample() -> None:
    setting = DeviceSetting(CPU)
    assert setting.memory_format("HW") == torch.channels_last
    assert setting.memory_format("THW") == torch.channels_last_3d
    assert setting.memory_format("L") == setting.memory_format("") == torch.preserve_format
    net = torch.nn.Conv3d(4, 4, 3).to(CPU, memory_format=setting.memory_format("THW"))
    assert net.weight.is_contiguous(memory_format=torch.channels_last_3d)


PLAIN = Penalty("g", lambda step: step.fake.flatten(1).sum(1))


@pytest.mark.parametrize(
    ("rule", "may"),
    [
        (PLAIN, True),
        (Penalty("d", PLAIN.fn, twice=True), False),
        (Penalty("d", PLAIN.fn, grad_of=("real",)), False),
        (LatentUpdate("both", lambda G, D, z, cond, weight: z), False),
    ],
    ids=["plain", "twice", "of a gradient", "latent update"],
)
def test_what_differentiates_twice_is_not_compiled(rule, may: bool) -> None:
    assert may_compile([PLAIN, rule]) == may
    net = torch.nn.Linear(1, 1)
    assert not DeviceSetting(CPU).compile_networks([net], [rule]), "off by default"
    assert net._compiled_call_impl is None
    assert DeviceSetting(CPU, compile=True).compile_networks([net], [rule]) == may
    assert (net._compiled_call_impl is not None) == may and set(net.state_dict()) == {"weight", "bias"}


@pytest.mark.skipif("MULLIGAN_TEST_COMPILE" not in os.environ, reason="a C++ compiler takes a minute or more for it")
def test_a_compiled_game_is_the_same_but_for_rounding() -> None:
    compiled, plain = toy_game(), toy_game()
    assert DeviceSetting(CPU, compile=True).compile_networks([compiled.g.net, compiled.d.net], [])
    for game in (compiled, plain):
        play_step(game, State(), 100)
    mine, theirs = weights(compiled), weights(plain)
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_a_game_in_fp16_is_the_same_with_batches_from_pinned_memory() -> None:
    setting = device_setting("cuda", "fp16")
    setting.make_repeatable()
    played = []
    for ahead in (False, True):
        game = toy_game(device=setting.device, autocast=setting.autocast)
        for player in (game.g, game.d):
            player.net.to(setting.device)
            player.scaler = setting.scaler()
        game.ema.net.to(setting.device)
        deal = game.train_batch
        game.train_batch = (
            prepared_ahead(deal, setting.device)
            if ahead
            else lambda at, n, deal=deal: Batch(deal(at, n).real.to(setting.device), NO_COND)
        )
        assert run(game, 40).status == "finished"
        played.append(weights(game))
    assert same(*played) and all(tensor.isfinite().all() for tensor in played[0].values())


def test_the_environment_names_what_auto_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULLIGAN_DEVICE", "cpu")
    assert pick_device().type == "cpu"
    monkeypatch.setenv("MULLIGAN_DEVICE", "tpu")
    with pytest.raises(UserError, match="tpu"):
        pick_device()
    assert pick_device("cpu").type == "cpu", "what is asked for goes first"
