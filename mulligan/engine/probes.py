"""What is measured of the players from time to time: too costly for every step, cheap beside an evaluation."""

from __future__ import annotations

import torch

from mulligan.engine.loop import Game
from mulligan.engine.signals import spread, wins
from mulligan.engine.turn import mean_logit


@torch.no_grad()
def memorised(game: Game, count: int = 256) -> float:
    """How often D ranks a sample it is trained on above a held-out one: 0.5 where it has memorised none, 1 at most."""
    heldout = game.heldout_batch(count)
    if len(heldout.real) < 8:
        return 0.5
    game.d.net.eval()
    known, new = (
        mean_logit(game.d.net(batch.real, batch.cond).logits)
        for batch in (game.train_batch(0, len(heldout.real)), heldout)
    )
    game.d.net.train()
    return wins(known, new).mean().item()


@torch.no_grad()
def noise_response(game: Game, count: int = 64) -> float:
    """How much G's samples of one condition differ, relative to real samples: 0 where G ignores its noise."""
    if not torch.Size(game.z_shape).numel():
        return 1.0  # it has no noise
    batch = game.train_batch(0, count)
    rng = torch.Generator().manual_seed(0)
    game.g.net.eval()
    fakes = game.g.net(torch.randn(count, *game.z_shape, generator=rng).to(game.device), batch.cond.repeated(count))
    game.g.net.train()
    return (spread(fakes).mean() / spread(batch.real).mean().clamp(min=1e-6)).item()
