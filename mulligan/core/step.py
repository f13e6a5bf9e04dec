"""One player's turn, as losses and terms see it: they read what the step holds and return one number per sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from torch import Tensor, nn

from mulligan.core.batch import Judgement

Side = Literal["d", "g"]


@dataclass(frozen=True)
class Loss:
    """A pair of pure functions of logits of one head; each returns a tensor shaped like its logits.

    `d(real, fake)` is D's. `g(fake)` is G's; where `g_sees_real`, it is `g(real, fake)` (relativistic losses).
    """

    d: Callable[[Tensor, Tensor], Tensor]
    g: Callable[..., Tensor]
    g_sees_real: bool = False


@dataclass(frozen=True)
class Penalty:
    """Something added to a player's loss: `fn(step) -> (B,)`, unweighted.

    `grad_of` names what `fn` differentiates D by, so that only then its gradient is prepared: "real", "fake".
    """

    side: Side
    fn: Callable[[Step], Tensor]
    grad_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Constraint:
    """Something done to a player after its optimizer's step: `fn(step, weight)`, for example clipping D's weights."""

    side: Side
    fn: Callable[[Step, float], None]


class Step:
    """What one turn holds. D judges only what somebody asks for, and only once, so loss and penalties share a forward.

    In D's turn `fake` is cut off from G, and D's parameters learn; in G's turn it is the other way round.
    """

    def __init__(
        self, side: Side, G: nn.Module, D: nn.Module, z: Tensor, cond: Tensor | None, real: Tensor, fake: Tensor
    ):
        self.side, self.G, self.D = side, G, D
        self.z, self.cond = z, cond
        self.real, self.fake = real, fake  # (B, C, *space) both

    def judge(self, x: Tensor) -> Judgement:
        """D's word on `x` under this step's condition; logits in float32 whatever D computes in."""
        said = self.D(x, self.cond)
        return Judgement([head.float() for head in said.logits], said.features)

    @cached_property
    def on_real(self) -> Judgement:
        return self.judge(self.real)

    @cached_property
    def on_fake(self) -> Judgement:
        return self.judge(self.fake)
