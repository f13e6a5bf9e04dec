"""The loop. It never asks which GAN it trains, on what data, or for which task."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from mulligan.core.batch import Batch
from mulligan.core.recipe import Schedule, value_at
from mulligan.core.seeding import seed_step
from mulligan.core.step import Augmentation, Loss
from mulligan.engine.budget import milestones
from mulligan.engine.checkpoint import Checkpoint, flatten, unflatten
from mulligan.engine.ema import MovingAverage
from mulligan.engine.guard import Rewind
from mulligan.engine.turn import Deal, Player, Report, turn


@dataclass
class Game:
    """What is played: the players, the rules, and where the cards come from. Nothing here changes but the weights."""

    g: Player
    d: Player
    ema: MovingAverage
    ema_half_life: float | Schedule
    ema_clock: Callable[[int, int], float]  # (images seen, budget) -> by how much an image counts for the average
    loss: Loss
    augment: Augmentation
    deal: Callable[[int, int], Batch]  # (position in the endless order, how many) -> a batch on the device
    unseen: Callable[..., Batch]  # (how many, at most) -> held-out images, on the device; of pairs, also from which
    z_shape: tuple[int, ...]
    class_counts: tuple[int, ...]  # how often the data has each class that G is told; () when it is told none
    device: torch.device
    batch: int = 64
    accumulate: int = 1
    d_turns: int = 1
    share_fakes: bool = True
    autocast: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext
    seed: int = 0


@dataclass
class State:
    """Where the game stands: with the weights, all that a run needs to go on bit for bit."""

    step: int = 0
    images: int = 0  # real images D has seen
    attempt: int = 0  # goes up with every rewind, so that other dice fall
    moved: float = 0.0  # the augmentation's strength, from where it began
    since: int = 0  # the attempt that began from nothing, and that this one goes back to
    lost: int = 0  # images shown in vain, in attempts that were given up
    seconds: float = 0.0  # since the run was asked for, over all sessions; nothing depends on it
    playing: float = 0.0  # of these, in turns alone
    metrics: list[dict[str, Any]] = field(default_factory=list)  # one row per look, oldest first
    best: dict[str, Any] | None = None  # the look at what `best` holds
    goods: list[dict[str, Any]] = field(default_factory=list)  # where this game was well: points to go back to
    tried: list[dict[str, Any]] = field(default_factory=list)  # what the guard did, oldest first: `Rewind.as_json`
    averages: dict[str, Any] = field(default_factory=dict)  # of the row that is being filled: `Averages.keep`


class Stop(NamedTuple):
    """How a game stands, in a word, and why it is over, in plain words."""

    status: Literal["running", "finished", "converged", "given up", "diverged", "interrupted"]
    why: str


Verdict = Stop | Rewind | None


class Table(Protocol):
    """Who sits around the game: writes things down, looks at it from time to time, has it played again or calls it off.

    `rewind` deals the game anew from an earlier point; `budget` is how many images it is to last, from its beginning.
    """

    def budget(self, state: State) -> int: ...
    def report(self, state: State, report: Report) -> Verdict: ...
    def milestone(self, state: State) -> Verdict: ...
    def rewind(self, state: State, rewind: Rewind) -> tuple[Game, State]: ...
    def save(self, state: State) -> None: ...
    def interrupted(self) -> bool: ...


def play(game: Game, state: State, table: Table, *, save_every: float = 30.0) -> tuple[State, Stop]:
    """Train until the budget is spent, the table calls it off, or an interrupt; returns where it ended, and why.

    `save_every` is in seconds. Nothing is saved of a game that diverged or was given up.
    """
    saved = time.monotonic()
    started = saved - state.seconds
    budget = table.budget(state)
    stop: Stop | None = None
    while state.images < budget and not stop:
        before, begun = state.images, time.monotonic()
        report = play_step(game, state, budget)
        state.step += 1
        state.images += game.batch * game.d_turns
        now = time.monotonic()
        state.seconds, state.playing = now - started, state.playing + now - begun
        verdict = table.report(state, report)
        if not verdict and any(before < at <= state.images for at in milestones(budget)):
            verdict = table.milestone(state)
        match verdict:
            case Rewind():
                game, state = table.rewind(state, verdict)
                budget, saved = table.budget(state), time.monotonic()
            case Stop():
                stop = verdict
        if not stop and table.interrupted():
            stop = Stop("interrupted", "asked to stop")
        if not stop and time.monotonic() - saved > save_every:
            table.save(state)
            saved = time.monotonic()
    stop = stop or Stop("finished", "the budget is spent")
    if stop.status not in ("diverged", "given up"):
        table.save(state)
    return state, stop


def play_step(game: Game, state: State, budget: int) -> Report:
    """D's turns, then G's, then the moving average. All randomness is drawn from where the run is."""
    seed_step(game.seed, 0, state.step, state.attempt)
    keep = game.share_fakes and game.accumulate == 1
    hands = game.d_turns + (not keep)  # fresh batches a step takes: one a turn, but for G when it plays D's last again
    position = state.step * hands * game.batch
    common = {"loss": game.loss, "seen": state.images, "budget": budget}
    strength = game.augment.strength(state.moved)
    common |= {"augment": game.augment, "strength": strength}
    report: Report = {}
    for i in range(game.d_turns):
        deals = _deals(game, position + i * game.batch)
        report |= turn(
            game.d, game.g, deals=deals, index=state.step * game.d_turns + i,
            keep_fakes=keep and i == game.d_turns - 1, autocast=game.autocast(), **common,
        )  # fmt: skip
    report["augment"] = torch.full((1,), strength)
    state.moved = game.augment.adapt(state.moved, report["d/wins"], state.step, game.batch * game.d_turns, budget)
    if not keep:
        deals = _deals(game, position + game.d_turns * game.batch)
    report |= turn(game.g, game.d, deals=deals, index=state.step, autocast=game.autocast(), **common)
    # a half-life is at most a twentieth of what was shown, or early weights would linger (StyleGAN2-ADA's ramp-up)
    half_life = min(value_at(game.ema_half_life, state.images, budget), 0.05 * state.images)
    game.ema.update(game.g.net, game.batch * game.d_turns * game.ema_clock(state.images, budget), half_life)
    return report


def _deals(game: Game, position: int) -> list[Deal]:
    """One batch, split for accumulation; the noise is drawn whole, so that splitting changes nothing but rounding."""
    size = game.batch // game.accumulate
    noise = torch.randn(game.batch, *game.z_shape, device=game.device).split(size)
    return [Deal(game.deal(position + k * size, size), z) for k, z in enumerate(noise)]


def tensors_of(game: Game) -> dict[str, Tensor]:
    """Every tensor of a game, by name, for a checkpoint."""
    tensors = flatten("ema", game.ema.net.state_dict())
    for player in (game.g, game.d):
        tensors |= flatten(player.side, player.net.state_dict())
        tensors |= flatten(f"memory.{player.side}", player.memory)
        for index, moments in player.tuned.optimizer.state_dict()["state"].items():
            tensors |= flatten(f"optimizer.{player.side}.{index}", moments)
    return tensors


def restore(game: Game, checkpoint: Checkpoint) -> State:
    """Put a game back to where a checkpoint of it was written."""
    game.ema.net.load_state_dict(unflatten("ema", checkpoint.tensors))
    for player in (game.g, game.d):
        player.net.load_state_dict(unflatten(player.side, checkpoint.tensors))
        kept = unflatten(f"memory.{player.side}", checkpoint.tensors)
        player.memory.update({name: tensor.to(game.device) for name, tensor in kept.items()})
        optimizer = player.tuned.optimizer
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in unflatten(f"optimizer.{player.side}", checkpoint.tensors).items():
            index, _, key = name.partition(".")
            like = parameters[int(index)]
            if tensor.shape == like.shape:  # laid out in memory as its parameter is, or rounding would differ
                tensor = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
            moments.setdefault(int(index), {})[key] = tensor
        optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return State(**checkpoint.state)
