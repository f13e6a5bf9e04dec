"""One player's turn, as losses and terms see it: they read what the step holds and return one number per sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from mulligan.core.batch import Judgement
from mulligan.core.condition import Condition

Side = Literal["d", "g"]
View = Callable[[Tensor], Tensor]  # a batch, or its first samples, to what D sees of it: the same each time


def unchanged(x: Tensor) -> Tensor:
    """The view that changes nothing."""
    return x


@dataclass(frozen=True)
class Loss:
    """A pair of pure functions of logits of one head; each returns a tensor shaped like its logits.

    `d(real, fake)` is D's. `g(fake)` is G's; where `g_sees_real`, it is `g(real, fake)` (relativistic losses).
    """

    d: Callable[[Tensor, Tensor], Tensor]
    g: Callable[..., Tensor]
    g_sees_real: bool = False


class Augmentation(Protocol):
    """What D sees of reals and fakes, with a strength that may adapt; its offset is part of the run's state."""

    def strength(self, offset: float) -> float: ...
    def views(
        self, count: int, strength: float, device: torch.device, *, paired: bool, fresh: Callable[[], Tensor]
    ) -> tuple[View, View]: ...
    def adapt(self, offset: float, wins: Tensor, step: int, samples: int, budget: int) -> float: ...


@dataclass(frozen=True)
class Penalty:
    """Something added to a player's loss, or to both players': `fn(step) -> (B,)`, unweighted.

    It may be (n,), of some samples: the mean counts. `grad_of` names what `fn` differentiates D by, so that only then
    its gradient is prepared: "real", "fake". `paired`: it compares each of G's samples with the real one of its row.
    `twice`: it differentiates a gradient of D or G again, which torch.compile cannot do.
    """

    side: Side | Literal["both"]
    fn: Callable[[Step], Tensor]
    grad_of: tuple[str, ...] = ()
    paired: bool = False
    twice: bool = False


@dataclass(frozen=True)
class Constraint:
    """Something done to a player after its optimizer's step: `fn(step, weight)`, for example clipping D's weights."""

    side: Side
    fn: Callable[[Step, float], None]


@dataclass(frozen=True)
class ViewRule:
    """Something between G and D: samples go through it last on their way to D, gradients first on their way back.

    `fn(step, weight)` gives the views of reals and of fakes, each of which must treat a sample alike every time.
    """

    side: Side | Literal["both"]
    fn: Callable[[Step, float], tuple[View, View]]


@dataclass(frozen=True)
class LatentUpdate:
    """Something done to noise before G makes samples of it: `fn(G, D, z, cond, weight) -> z`, before a player's turn.

    Where z still depends on the player, as by a gradient of D with its graph, the player's loss reaches it that way
    too. Where the players share fakes, G plays what was found for D, as it is: D has moved on in between.
    """

    side: Side | Literal["both"]
    fn: Callable[[nn.Module, nn.Module, Tensor, Condition, float], Tensor]


Rule = Penalty | Constraint | ViewRule | LatentUpdate


class Step:
    """What one turn holds. D runs only on what somebody asks for, and only once, so loss and penalties share a forward.

    In D's turn `fake` is cut off from G, and D's parameters learn; in G's turn it is the other way round. Where G draws
    in stages, `real` and `fake` hold them all, coarse to fine, one after the other on the channels.
    """

    def __init__(
        self,
        side: Side,
        G: nn.Module,
        D: nn.Module | Callable[..., Judgement],
        z: Tensor,
        cond: Condition,
        real: Tensor,
        fake: Tensor,
        view_real: View = unchanged,
        view_fake: View = unchanged,
        memory: dict[str, Tensor] | None = None,
        z_drawn: Tensor | None = None,
        loss: Loss | None = None,
    ) -> None:
        self.side, self.G, self.D, self.loss = side, G, D, loss
        self.z, self.cond = z, cond
        self.z_drawn = z if z_drawn is None else z_drawn  # z as it was before any latent update
        self.real, self.fake = real, fake  # (B, C, *space) both
        self.view_real, self.view_fake = view_real, view_fake  # augmentation: what D sees of each
        self.memory = {} if memory is None else memory  # what terms keep from step to step; part of the checkpoint

    def add_views(self, views: tuple[View, View]) -> None:
        """From now on D sees what it would have seen, through these views of reals and of fakes as well."""
        real, fake = self.view_real, self.view_fake
        self.view_real, self.view_fake = lambda x: views[0](real(x)), lambda x: views[1](fake(x))

    def with_discriminator(self, D: Callable[..., Judgement], side: Side) -> Step:
        """The same samples, seen the same way, in the turn of `side` with another D."""
        return Step(
            side, self.G, D, self.z, self.cond, self.real, self.fake, self.view_real, self.view_fake,
            memory=self.memory, z_drawn=self.z_drawn, loss=self.loss,
        )  # fmt: skip

    def adversarial(self) -> Tensor:
        """The loss of this step's player, summed over D's heads, averaged over all but the batch: (B,)."""
        assert self.loss is not None
        if self.side == "d":
            per_head = map(self.loss.d, self.on_real.logits, self.on_fake.logits)
        elif self.loss.g_sees_real:
            per_head = map(self.loss.g, self.on_real.logits, self.on_fake.logits)
        else:
            per_head = map(self.loss.g, self.on_fake.logits)
        return torch.stack([each.flatten(1).mean(1) if each.ndim > 1 else each for each in per_head]).sum(0)

    def discriminate(self, x: Tensor, view: View, cond: Condition | None = None) -> Judgement:
        """D's judgement of a view of `x`, with this step's first conditions or others; logits in float32 always."""
        judged = self.D(view(x), self.cond.take(slice(len(x))) if cond is None else cond)
        return judged._replace(logits=[head.float() for head in judged.logits])

    @cached_property
    def on_real(self) -> Judgement:
        return self.discriminate(self.real, self.view_real)

    @cached_property
    def on_fake(self) -> Judgement:
        return self.discriminate(self.fake, self.view_fake)
