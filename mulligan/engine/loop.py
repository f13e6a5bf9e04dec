"""The loop. It never asks which GAN it trains, on what data, or for which task."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from mulligan.core.batch import Batch
from mulligan.core.errors import UserError
from mulligan.core.network import Discriminator, Generator
from mulligan.core.recipe import Schedule, value_at
from mulligan.core.seeding import seed_step
from mulligan.core.step import Augmentation, Loss
from mulligan.core.team import Team, alone
from mulligan.engine.budget import evaluation_points
from mulligan.engine.checkpoint import Checkpoint, flatten, unflatten
from mulligan.engine.ema import MovingAverage
from mulligan.engine.guard import Rewind
from mulligan.engine.turn import MicroBatch, Player, Report, Round, turn


class HeldoutBatches(Protocol):
    """Batches that D was never trained on, on the device; of at most `count` where `start` is left out."""

    def __call__(self, count: int, start: int | None = None) -> Batch: ...


@dataclass
class Game:
    """What is played: the players, the rules and the data. Nothing in it changes but the weights."""

    g: Player[Generator]
    d: Player[Discriminator]
    ema: MovingAverage[Generator]
    ema_half_life: float | Schedule
    ema_clock: Callable[[int, int], float]  # (samples seen, budget) -> how much a sample counts for the average
    loss: Loss
    augment: Augmentation
    train_batch: Callable[[int, int], Batch]  # (position in the endless order, how many) -> a batch on the device
    heldout_batch: HeldoutBatches
    z_shape: tuple[int, ...]
    device: torch.device
    batch: int = 64  # of all processes together
    accumulate: int = 1
    d_turns: int = 1
    share_fakes: bool = True
    autocast: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext
    seed: int = 0
    team: Team = field(default_factory=alone)

    def __post_init__(self) -> None:
        if self.batch % (self.accumulate * self.team.size):
            raise UserError(
                f"batch={self.batch} must be a multiple of accumulate={self.accumulate} times the "
                f"{self.team.size} process(es) that share it"
            )

    @property
    def micro_batch(self) -> int:
        """How many samples go through a network at once."""
        return self.batch // (self.accumulate * self.team.size)


@dataclass
class State:
    """Where the game stands: with the weights, all that a run needs to go on bit for bit."""

    step: int = 0
    samples: int = 0  # real samples that D has seen
    attempt: int = 0  # goes up with every rewind, so that other random numbers are drawn
    strength_offset: float = 0.0  # of the augmentation, from the strength it began with
    fresh_since: int = 0  # the last attempt that began from nothing: `tried[fresh_since:]` was tried on this game
    lost: int = 0  # samples seen in attempts that were given up
    seconds: float = 0.0  # since the run was started, over all sessions; nothing depends on it
    playing: float = 0.0  # of these, in turns alone
    metrics: list[dict[str, Any]] = field(default_factory=list)  # one row per evaluation, oldest first
    best: dict[str, Any] | None = None  # the row of the checkpoint `best`
    restore_points: list[dict[str, Any]] = field(default_factory=list)  # where this game was healthy, oldest first
    tried: list[dict[str, Any]] = field(default_factory=list)  # what the guard did, oldest first: `Rewind._asdict`
    averages: dict[str, Any] = field(default_factory=dict)  # of the row that is being filled: `Averages.saved`
    scalers: dict[str, dict[str, Any]] = field(default_factory=dict)  # loss scales in fp16, by player


class Stop(NamedTuple):
    """How a game stands, in a word, and why it is over, in plain words."""

    status: Literal["running", "finished", "converged", "given up", "diverged", "interrupted"]
    why: str


Verdict = Stop | Rewind | None


class Observer(Protocol):
    """What happens around a game: it is written down, evaluated, saved, and played again or stopped."""

    def budget(self, state: State) -> int:
        """How many samples the game is to last, from its beginning."""
        ...

    def report(self, state: State, report: Report) -> Verdict:
        """Called after every step, with its numbers."""
        ...

    def evaluate(self, state: State) -> Verdict:
        """Called after a step that passes one of `evaluation_points`, unless `report` has a verdict on it."""
        ...

    def rewind(self, state: State, rewind: Rewind) -> tuple[Game, State]:
        """The game anew, from an earlier point, and saved there."""
        ...

    def pause(self, state: State) -> Stop | None:
        """Called between two steps, for what depends on the clock or on signals: saving, and interrupts."""
        ...

    def save(self, state: State) -> None:
        """Called at the end of a game, unless it diverged or was given up."""
        ...


def play(game: Game, state: State, observer: Observer) -> tuple[State, Stop]:
    """Train until the budget is spent or the observer stops it; returns where it ended, and why."""
    started = time.monotonic() - state.seconds
    budget = observer.budget(state)
    stop: Stop | None = None
    while state.samples < budget and not stop:
        before, begun = state.samples, time.monotonic()
        report = play_step(game, state, budget)
        state.step += 1
        state.samples += game.batch * game.d_turns
        now = time.monotonic()
        state.seconds, state.playing = now - started, state.playing + now - begun
        verdict = observer.report(state, report)
        if not verdict and any(before < at <= state.samples for at in evaluation_points(budget)):
            verdict = observer.evaluate(state)
        match verdict:
            case Rewind():
                game, state = observer.rewind(state, verdict)
                budget = observer.budget(state)
            case Stop():
                stop = verdict
        stop = stop or observer.pause(state)
    stop = stop or Stop("finished", "the budget is spent")
    if stop.status not in ("diverged", "given up"):
        observer.save(state)
    return state, stop


def play_step(game: Game, state: State, budget: int) -> Report:
    """D's turns, then G's, then the moving average. All random numbers depend on where the run is."""
    seed_step(game.seed, game.team.rank, state.step, state.attempt)
    fresh = game.d_turns + (not game.share_fakes)  # batches a step takes: G plays D's last again, or one of its own
    position = state.step * fresh * game.batch
    strength = game.augment.strength(state.strength_offset)
    now = Round(game.loss, game.augment, strength, state.samples, budget, game.autocast, game.team)
    report: Report = {}
    for i in range(game.d_turns):
        batches = _batches(game, position + i * game.batch)
        share = game.share_fakes and i == game.d_turns - 1
        report |= turn(game.d, game.g, batches, now, index=state.step * game.d_turns + i, share=share)
    report["augment"] = torch.full((1,), strength)
    game.team.mean_([report["d/wins"]])
    samples = game.batch * game.d_turns
    state.strength_offset = game.augment.adapt(state.strength_offset, report["d/wins"], state.step, samples, budget)
    if not game.share_fakes:
        batches = _batches(game, position + game.d_turns * game.batch)
    report |= turn(game.g, game.d, batches, now, index=state.step)
    # a half-life is at most a twentieth of what was seen, or early weights would count for long (StyleGAN2-ADA)
    half_life = min(value_at(game.ema_half_life, state.samples, budget), 0.05 * state.samples)
    game.ema.update(game.g.net, samples * game.ema_clock(state.samples, budget), half_life)
    return report


def _batches(game: Game, position: int) -> list[MicroBatch]:
    """This process's share of the batch at `position`, in micro-batches.

    Those of all processes alternate, so that each finds its own at equal distances. The noise is drawn whole, so that
    splitting a batch changes nothing but rounding.
    """
    size, ranks = game.micro_batch, game.team.size
    noise = torch.randn(game.batch // ranks, *game.z_shape, device=game.device).split(size)
    return [
        MicroBatch(game.train_batch(position + (k * ranks + game.team.rank) * size, size), z)
        for k, z in enumerate(noise)
    ]


def tensors_of(game: Game) -> dict[str, Tensor]:
    """Every tensor of a game, by name, for a checkpoint."""
    tensors = flatten("ema", game.ema.net.state_dict())
    for player in (game.g, game.d):
        tensors |= flatten(player.side, player.net.state_dict())
        tensors |= flatten(f"memory.{player.side}", player.memory)
        for index, moments in player.scheduled.optimizer.state_dict()["state"].items():
            tensors |= flatten(f"optimizer.{player.side}.{index}", moments)
    return tensors


def saved_state(game: Game, state: State) -> dict[str, Any]:
    """All the rest of a game, as JSON, for a checkpoint."""
    scalers: dict[str, dict[str, Any]] = {
        player.side: player.scaler.state_dict() for player in (game.g, game.d) if player.scaler.is_enabled()
    }
    return dataclasses.asdict(dataclasses.replace(state, scalers=scalers))


def restore(game: Game, checkpoint: Checkpoint) -> State:
    """Put a game back to where a checkpoint of it was written."""
    state = State(**checkpoint.state)
    game.ema.net.load_state_dict(unflatten("ema", checkpoint.tensors))
    for player in (game.g, game.d):
        player.net.load_state_dict(unflatten(player.side, checkpoint.tensors))
        memory = unflatten(f"memory.{player.side}", checkpoint.tensors)
        player.memory.update({name: tensor.to(game.device) for name, tensor in memory.items()})
        optimizer = player.scheduled.optimizer
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in unflatten(f"optimizer.{player.side}", checkpoint.tensors).items():
            index, _, key = name.partition(".")
            like = parameters[int(index)]
            if tensor.shape == like.shape:  # laid out in memory as its parameter is, or rounding would differ
                tensor = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
            moments.setdefault(int(index), {})[key] = tensor
        optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
        if player.scaler.is_enabled() and player.side in state.scalers:
            player.scaler.load_state_dict(state.scalers[player.side])
    return state
