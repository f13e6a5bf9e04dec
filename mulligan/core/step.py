"""One player's turn, as losses and terms see it: they read a `Step` and return one number per sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor

from mulligan.core.batch import Judgement, sample_means
from mulligan.core.condition import Condition
from mulligan.core.errors import UserError
from mulligan.core.network import Discriminator, Generator

Side = Literal["d", "g"]
View = Callable[[Tensor], Tensor]  # maps a batch, or its first samples, to what D sees; deterministic


def unchanged(x: Tensor) -> Tensor:
    """The view that changes nothing."""
    return x


@dataclass(frozen=True)
class Loss:
    """A pair of pure functions of the logits of one head. Each returns a tensor of the same shape as its logits.

    `d(real, fake)` is D's loss. `g(fake)` is G's; with `g_sees_real`, it is `g(real, fake)` (relativistic losses).
    """

    d: Callable[[Tensor, Tensor], Tensor]
    g: Callable[..., Tensor]
    g_sees_real: bool = False


class Augmentation(Protocol):
    """Changes reals and fakes before D sees them. Its strength may adapt; the offset of it is part of the run's state.

    `changes_views`: whether D sees samples other than those that were loaded and generated. `vary` is applied to
    training samples when they are loaded.
    """

    @property
    def changes_views(self) -> bool: ...
    @property
    def vary(self) -> Callable[[Tensor, torch.Generator], Tensor] | None: ...
    def strength(self, offset: float) -> float: ...
    def views(
        self, count: int, strength: float, device: torch.device, *, paired: bool, fresh: Callable[[], Tensor]
    ) -> tuple[View, View]: ...
    def adapt(self, offset: float, wins: Tensor, step: int, samples: int, budget: int) -> float: ...


@dataclass(frozen=True)
class Rule:
    """A term: the base of `Penalty`, `Constraint`, `ViewRule` and `LatentUpdate`."""

    side: Side | Literal["both"]  # the player in whose turns it is applied
    fn: Callable[..., Any]


@dataclass(frozen=True)
class Penalty(Rule):
    """A term of a player's loss, or of both players' losses: `fn(step) -> (B,)`, unweighted.

    The result may be (n,), for some of the samples: the mean counts. `grad_of` names the inputs by which `fn`
    differentiates D ("real", "fake"); only these are prepared for it. `paired`: it compares each generated sample with
    the real one of its row. `twice`: it takes second derivatives of D or G, which torch.compile cannot do.
    """

    side: Side | Literal["both"]
    fn: Callable[[Step], Tensor]
    grad_of: tuple[str, ...] = ()
    paired: bool = False
    twice: bool = False


@dataclass(frozen=True)
class Constraint(Rule):
    """An action on a player after its optimizer step: `fn(step, weight)`, for example to clip D's weights."""

    side: Side
    fn: Callable[[Step, float], None]


@dataclass(frozen=True)
class ViewRule(Rule):
    """A function between G and D. It is the last one that samples pass on their way to D, the first for gradients back.

    `fn(step, weight)` returns the views of reals and of fakes; each must give the same result at every call.
    """

    side: Side | Literal["both"]
    fn: Callable[[Step, float], tuple[View, View]]


@dataclass(frozen=True)
class LatentUpdate(Rule):
    """A change of the noise before G makes samples from it: `fn(G, D, z, cond, weight) -> z`, before a player's turn.

    If z depends on the player, for example through a gradient of D with its graph, the player's loss is differentiated
    through it too. If the players share fakes, G uses the z of D's turn unchanged, although D was updated in between.
    """

    side: Side | Literal["both"]
    fn: Callable[[Generator, Discriminator, Tensor, Condition, float], Tensor]


class Step:
    """The data of one turn. D runs only when its output is needed, and only once: loss and penalties share the result.

    In D's turn `fake` is detached from G, and D's parameters learn; in G's turn it is the other way round. If G draws
    in stages, `real` and `fake` hold all stages, coarse to fine, concatenated on the channel axis.
    """

    def __init__(
        self,
        side: Side,
        G: Generator,
        D: Discriminator,
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
        self.view_real, self.view_fake = view_real, view_fake  # what D sees of each, such as augmented samples
        self.memory = {} if memory is None else memory  # the state of terms between steps; part of the checkpoint

    def add_views(self, views: tuple[View, View]) -> None:
        """Apply these views of reals and of fakes after the current ones, from now on."""
        real, fake = self.view_real, self.view_fake
        self.view_real, self.view_fake = lambda x: views[0](real(x)), lambda x: views[1](fake(x))

    def with_discriminator(self, D: Callable[..., Judgement], side: Side) -> Step:
        """The same samples and views, in the turn of `side` with another D, which is only called."""
        return Step(
            side, self.G, cast(Discriminator, D), self.z, self.cond, self.real, self.fake, self.view_real,
            self.view_fake, memory=self.memory, z_drawn=self.z_drawn, loss=self.loss,
        )  # fmt: skip

    def adversarial(self) -> Tensor:
        """The loss of this step's player, summed over D's heads, averaged over all but the batch: (B,)."""
        assert self.loss is not None
        if self.side == "d":
            per_head = list(map(self.loss.d, self.on_real.logits, self.on_fake.logits))
        elif self.loss.g_sees_real:
            per_head = list(map(self.loss.g, self.on_real.logits, self.on_fake.logits))
        else:
            per_head = list(map(self.loss.g, self.on_fake.logits))
        for given, logits in zip(per_head, self.on_fake.logits, strict=True):
            if getattr(given, "shape", None) != logits.shape:
                raise UserError(
                    f"the loss must give one number for each logit, {tuple(logits.shape)}, and its function "
                    f"{self.side!r} gives {tuple(given.shape) if isinstance(given, Tensor) else given!r}"
                )
        return torch.stack([sample_means(each) for each in per_head]).sum(0)

    def discriminate(self, x: Tensor, view: View, cond: Condition | None = None) -> Judgement:
        """D's judgement of a view of `x`, with the first conditions of this step or others; logits are float32."""
        judged = self.D(view(x), self.cond.take(slice(len(x))) if cond is None else cond)
        return judged._replace(logits=[head.float() for head in judged.logits])

    @cached_property
    def on_real(self) -> Judgement:
        return self.discriminate(self.real, self.view_real)

    @cached_property
    def on_fake(self) -> Judgement:
        return self.discriminate(self.fake, self.view_fake)
