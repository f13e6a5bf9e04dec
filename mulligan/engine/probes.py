"""What one looks at from time to time to see how the players do: too dear for every step, cheap beside a look."""

from __future__ import annotations

import torch

from mulligan.engine.loop import Game
from mulligan.engine.signals import spread, wins
from mulligan.engine.turn import mean_logit


@torch.no_grad()
def memorised(game: Game, count: int = 256) -> float:
    """How often D ranks an image it is trained on above one it never saw: 0.5, or it knows them by heart."""
    unseen = game.unseen(count)
    if len(unseen.real) < 8:
        return 0.5
    game.d.net.eval()
    known, new = (
        mean_logit(game.d.net(batch.real, batch.cond).logits) for batch in (game.deal(0, len(unseen.real)), unseen)
    )
    game.d.net.train()
    return wins(known, new).mean().item()


@torch.no_grad()
def noise_heard(game: Game, count: int = 64) -> float:
    """How much G's pictures of one class differ, over how much real images differ: 0 if it is deaf to its noise."""
    if not torch.Size(game.z_shape).numel():
        return 1.0  # nothing to hear
    real = game.deal(0, count)
    told = None if real.cond is None else real.cond[:1].expand(count, *real.cond.shape[1:])
    dice = torch.Generator().manual_seed(0)
    game.g.net.eval()
    fakes = game.g.net(torch.randn(count, *game.z_shape, generator=dice).to(game.device), told)
    game.g.net.train()
    return (spread(fakes).mean() / spread(real.real).mean().clamp(min=1e-6)).item()
