"""Gradient penalties: how steep D may be, and where. For data of any rank."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mulligan.core.batch import Judgement, append_dims
from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.core.step import Penalty, Step, View
from mulligan.nn.style import MinibatchStd


class Slope(NamedTuple):
    """What is known of D's gradient at n points."""

    squared: Tensor  # (n,) its squared norm, or numbers whose expectation that is
    norm: Tensor  # (n,) the same of its norm


def word(judgement: Judgement) -> Tensor:
    """All that D says of a sample, heads and places summed: (B,)."""
    return torch.stack([head.flatten(1).sum(1) if head.ndim > 1 else head for head in judgement.logits]).sum(0)


@dataclass(frozen=True)
class Slopes:
    """How D's gradient is found, and for how many of a batch.

    Exactly, by differentiating twice. Or to first order: for e ~ N(0, I) and a small sigma, the difference
    d = (D(x + sigma e) - D(x)) / sigma is normal, and its deviation is the gradient's norm. So E[d^2] is its square
    (Lin 2025, arXiv 2501.08316, sec. 3.3), E|d| sqrt(pi / 2) the norm. There is no double backward, so it compiles.
    """

    sigma: float
    share: float

    def __post_init__(self) -> None:
        if self.sigma < 0 or not 0 < self.share <= 1:
            raise UserError(f"sigma={self.sigma} must be 0 or more, share={self.share} above 0 and at most 1")

    @property
    def shares_forward(self) -> bool:
        """Whether the gradient of the loss's own judgement is taken, so that its input must be ready for it."""
        return self.sigma == 0 and self.share == 1

    def at(self, step: Step, x: Tensor, view: View, known: Judgement | None = None) -> Slope:
        """At the first of `x`, as D is shown them; `known` is the step's own judgement of `x` where there is one."""
        n = math.ceil(self.share * len(x))
        if self.sigma == 0:
            if known is None or n < len(x):
                x = x.detach()[:n].requires_grad_()
                known = step.judge(x, view)
            (gradient,) = torch.autograd.grad(word(known).sum(), x, create_graph=True)
            squared = gradient.float().flatten(1).square().sum(1)
            return Slope(squared, squared.add(1e-12).sqrt())  # a root has no slope at 0
        self._refuse_chance(step.D)
        x = x.detach()[:n]
        here = word(known or step.judge(x, view))[:n]
        difference = (word(step.judge(x + self.sigma * torch.randn_like(x), view)) - here) / self.sigma
        return Slope(difference.square(), difference.abs() * math.sqrt(math.pi / 2))

    def _refuse_chance(self, D: nn.Module) -> None:
        """What changes D's word from one look to the next would be taken for a slope."""
        for module in D.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd) and module.p:
                raise UserError("a first-order penalty (sigma > 0) needs a discriminator without dropout; set sigma=0")
            if parametrize.is_parametrized(module):
                raise UserError(
                    "a first-order penalty (sigma > 0) needs a discriminator without spectral norm, which moves with "
                    "every look; set sigma=0"
                )
            if isinstance(module, nn.modules.batchnorm._BatchNorm | MinibatchStd) and self.share < 1:
                raise UserError(
                    "a first-order penalty on a share needs a discriminator without batch norm or minibatch deviation; "
                    "set share=1"
                )


def _zero_centred(side: str, sigma: float, share: float) -> Penalty:
    slopes = Slopes(sigma, share)

    def fn(step: Step) -> Tensor:
        x, view, known = (getattr(step, f"{what}{side}") for what in ("", "view_", "on_"))
        return 0.5 * slopes.at(step, x, view, known).squared

    return Penalty("d", fn, grad_of=(side,) if slopes.shares_forward else ())


@terms.register()
def r1(
    *,
    sigma: float = 0.0,  # 0: exact, by differentiating twice; else to first order, over steps of this size (0.01)
    share: float = 1.0,  # of the batch that is penalised
) -> Penalty:
    """||grad D(x)||^2 / 2 on real data; the weight is gamma (Mescheder 2018, arXiv 1801.04406, eq. 9)."""
    return _zero_centred("real", sigma, share)


@terms.register()
def r2(*, sigma: float = 0.0, share: float = 1.0) -> Penalty:
    """||grad D(G(z))||^2 / 2 on generated data; the weight is gamma (Mescheder 2018, eq. 10). Options as of r1."""
    return _zero_centred("fake", sigma, share)


def _between(step: Step) -> Tensor:
    """Somewhere between each real image and a fake."""
    t = append_dims(torch.rand(len(step.real), device=step.real.device), step.real.ndim)
    return step.real + t * (step.fake - step.real)


def _one_lipschitz(slope: Slope, target: float) -> Tensor:
    return slope.squared - 2 * target * slope.norm + target**2  # (norm - target)^2, also in expectation


@terms.register()
def wgan_gp(*, target: float = 1.0, sigma: float = 0.0, share: float = 1.0) -> Penalty:
    """(||grad D|| - 1)^2 between real and fake (Gulrajani 2017, arXiv 1704.00028, eq. 3). Options as of r1."""
    slopes = Slopes(sigma, share)

    def fn(step: Step) -> Tensor:
        return _one_lipschitz(slopes.at(step, _between(step), step.view_real), target)

    return Penalty("d", fn)


@terms.register()
def dragan(*, target: float = 1.0, spread: float = 0.5, sigma: float = 0.0, share: float = 1.0) -> Penalty:
    """(||grad D|| - 1)^2 around real data: x + spread * std(x) * u, u uniform (Kodali 2017, 1705.07215, alg. 1)."""
    slopes = Slopes(sigma, share)

    def fn(step: Step) -> Tensor:
        around = step.real + spread * step.real.std() * torch.rand_like(step.real)
        return _one_lipschitz(slopes.at(step, around, step.view_real), target)

    return Penalty("d", fn)


@terms.register()
def wgan_div(*, power: float = 6.0) -> Penalty:
    """||grad D||^p between real and fake; the weight is k (Wu 2018, arXiv 1712.01026, eq. 10)."""
    slopes = Slopes(sigma=0.0, share=1.0)

    def fn(step: Step) -> Tensor:
        return slopes.at(step, _between(step), step.view_real).squared.pow(power / 2)

    return Penalty("d", fn)
