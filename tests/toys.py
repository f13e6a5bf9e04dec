"""The smallest G and D that take part in a game, for samples of any shape."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mulligan.augment.parts import AdaptiveAugmentation
from mulligan.core.batch import Batch, Judgement
from mulligan.core.condition import Condition
from mulligan.core.network import Discriminator, Generator
from mulligan.core.recipe import Part
from mulligan.core.step import Loss
from mulligan.engine.ema import MovingAverage
from mulligan.engine.loop import Game
from mulligan.engine.optim import ScheduledOptimizer
from mulligan.engine.turn import Player


class ToyG(Generator):
    z_shape = (4,)

    def __init__(self, shape: tuple[int, ...], stages: int = 1) -> None:
        super().__init__()
        self.shape, self.stage_count = shape, stages
        self.net = nn.Linear(4, torch.Size(shape).numel())

    def forward(self, z: Tensor, cond: Condition) -> Tensor:
        x = self.net(z).tanh().unflatten(1, self.shape)
        return torch.cat([x / 2] * (self.stage_count - 1) + [x], 1) if self.training else x


class ToyD(Discriminator):
    def __init__(self, shape: tuple[int, ...], dropout: float = 0.0) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape).numel(), 8), nn.Tanh(), nn.Dropout(dropout))
        self.head = nn.Linear(8, 1)
        self.calls = 0

    def forward(self, x: Tensor, cond: Condition) -> Judgement:
        self.calls += 1
        h = self.net(x)
        return Judgement([self.head(h).squeeze(1)], [h])


HINGE = Loss(d=lambda real, fake: (1 - real).relu() + (1 + fake).relu(), g=lambda fake: -fake)
NO_COND = Condition()


def toy_game(
    shape: tuple[int, ...] = (1, 4, 4), *, dropout: float = 0.0, rules=(), stages: int = 1, **settings
) -> Game:
    """A hinge game on seeded noise; `rules` are (name, term, rule), `settings` fields of Game."""
    torch.manual_seed(0)
    G, D = ToyG(shape, stages), ToyD((stages * shape[0], *shape[1:]), dropout)
    data = torch.rand(50, *shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    adam = Part("adam", lr=0.01)
    mine = {side: {name: pair for name, *pair in rules if pair[1].side in (side, "both")} for side in "gd"}

    def train_batch(position: int, count: int) -> Batch:
        return Batch(data[torch.arange(position, position + count) % len(data)], NO_COND)

    def heldout_batch(count: int, start: int | None = None) -> Batch:
        return Batch(data[:count], NO_COND)

    return Game(
        g=Player("g", G, ScheduledOptimizer(adam, G.parameters()), mine["g"]),
        d=Player("d", D, ScheduledOptimizer(adam, D.parameters()), mine["d"]),
        ema=MovingAverage(G),
        **{
            "ema_half_life": 20.0, "ema_clock": lambda seen, budget: 1.0, "loss": HINGE, "train_batch": train_batch,
            "heldout_batch": heldout_batch, "z_shape": G.z_shape, "augment": AdaptiveAugmentation(),
            "device": torch.device("cpu"), "batch": 8, **settings,
        },
    )  # fmt: skip
