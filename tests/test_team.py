"""Several processes that play one game, here as threads in lockstep."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from test_loop import same, weights
from torch import Tensor, nn
from toys import toy_game

from mulligan.core.batch import Batch
from mulligan.core.condition import Condition
from mulligan.core.errors import UserError
from mulligan.core.network import Generator
from mulligan.core.recipe import Part
from mulligan.core.step import unchanged
from mulligan.core.team import Team, alone
from mulligan.engine import loop
from mulligan.engine.ahead import Ahead
from mulligan.engine.ema import MovingAverage
from mulligan.engine.loop import Game, State, play_step
from mulligan.engine.optim import ScheduledOptimizer
from mulligan.engine.turn import Player


class Threads(Team):
    """One of several threads, which lay their values on one table and wait for each other."""

    def __init__(self, rank: int, table: list, barrier: threading.Barrier) -> None:
        self.rank, self.size, self.table, self.barrier = rank, len(table), table, barrier

    def _all(self, value):
        self.table[self.rank] = value
        self.barrier.wait(20)
        found = list(self.table)
        self.barrier.wait(20)
        return found

    def mean_(self, tensors):
        found = self._all([tensor.clone() for tensor in tensors])
        for own, each in zip(tensors, zip(*found, strict=True), strict=True):
            own.copy_(torch.stack(each).mean(0))

    def agree(self, value):
        return self._all(value)[0]


class FromImage(Generator):
    """It has no noise, so that equal data give equal samples whatever is drawn."""

    z_shape = (0,)

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(16, 16)

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        return self.net(cond["image"].flatten(1)).tanh().unflatten(1, (1, 4, 4))


class Adapting:
    """An augmentation that changes nothing, with a strength that adds up how often D wins."""

    def strength(self, offset: float) -> float:
        return offset

    def views(self, count, strength, device, *, paired, fresh):
        return unchanged, unchanged

    def adapt(self, offset, wins, step, samples, budget):
        return offset + wins.mean().item()


def team_game(team: Team, taken: list[int], **settings) -> Game:
    game = toy_game(team=team, augment=Adapting(), **settings)
    torch.manual_seed(0)
    G = FromImage()
    game.g = Player("g", G, ScheduledOptimizer(Part("adam", lr=0.01), G.parameters()))
    game.ema, game.z_shape = MovingAverage(G), G.z_shape
    batch_at = game.train_batch

    def train_batch(position: int, count: int) -> Batch:
        taken.extend(range(position, position + count))
        return Batch(batch_at(position, count).real, Condition({"image": batch_at(position + 7, count).real}))

    game.train_batch = train_batch
    return game


def played(game: Game, steps: int = 4) -> tuple[dict[str, Tensor], float]:
    state = State()
    for _ in range(steps):
        play_step(game, state, 1000)
        state.step += 1
        state.samples += game.batch * game.d_turns
    return weights(game), state.strength_offset


@pytest.mark.parametrize(
    "settings", [{}, {"accumulate": 2, "d_turns": 2}, {"share_fakes": False}, {"accumulate": 2}], ids=str
)
def test_two_with_half_a_batch_each_play_the_game_of_one(settings: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: set[tuple[int, ...]] = set()
    monkeypatch.setattr(loop, "seed_step", lambda *position: seeds.add(position))
    table, barrier = [None, None], threading.Barrier(2)
    taken: list[list[int]] = [[], [], []]
    games = [team_game(Threads(rank, table, barrier), taken[rank], **settings) for rank in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(played, games)
    assert same(first[0], second[0]) and first[1] == second[1], "to the bit"
    whole = played(team_game(alone(), taken[2], **settings))
    assert sorted(taken[0] + taken[1]) == taken[2] and len(taken[0]) == len(taken[1])
    assert {(0, rank, step, 0) for rank in (0, 1) for step in range(4)} == seeds
    assert first[1] == pytest.approx(whole[1], abs=0.5), "not equal: pairs of real and fake are those of one process"
    for name, tensor in whole[0].items():
        torch.testing.assert_close(first[0][name], tensor, rtol=1e-3, atol=1e-5)


def test_each_finds_its_share_at_equal_distances() -> None:
    """So that what comes next is known: `Ahead` prepares no batch in vain."""
    table, barrier = [None, None], threading.Barrier(2)
    asked: list[list[int]] = [[], []]
    games = [team_game(Threads(rank, table, barrier), asked[rank], accumulate=2, d_turns=2) for rank in (0, 1)]
    for game in games:
        game.train_batch = Ahead(game.train_batch, game.device, stride=2)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(played, games))
    for game, positions in zip(games, asked, strict=True):
        game.train_batch.close()
        assert len(positions) == len(set(positions))


def test_what_rank_0_says_counts() -> None:
    table, barrier = [None, None], threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        agreed = pool.map(lambda rank: Threads(rank, table, barrier).agree({"stop": rank == 0}), (0, 1))
    assert list(agreed) == [{"stop": True}] * 2


def test_alone_there_is_nothing_to_agree_on() -> None:
    team, tensor = alone(), torch.ones(2)
    team.mean_([tensor])
    assert (team.rank, team.size, team.agree(3)) == (0, 1, 3) and torch.equal(tensor, torch.ones(2))
    assert toy_game().team is team


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(UserError, match=r"batch=8 must be a multiple of accumulate=8 times the 2 process"):
        toy_game(batch=8, accumulate=8, team=Threads(0, [None, None], threading.Barrier(2)))
