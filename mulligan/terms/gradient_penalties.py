"""Gradient penalties: how steep D may be, and where. For samples of any kind."""

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


class GradientNorm(NamedTuple):
    """The norm of D's gradient at n points."""

    squared: Tensor  # (n,) the squared norm, or an unbiased estimate of it
    norm: Tensor  # (n,) the norm, or an unbiased estimate of it


def total_logit(judgement: Judgement) -> Tensor:
    """The logits of a sample, summed over heads and positions: (B,)."""
    return torch.stack([head.flatten(1).sum(1) if head.ndim > 1 else head for head in judgement.logits]).sum(0)


@dataclass(frozen=True)
class GradientEstimator:
    """How the norm of D's gradient is found, and for which share of a batch.

    With sigma = 0 exactly, by differentiating twice. Otherwise to first order: for e ~ N(0, I) and a small sigma, the
    difference d = (D(x + sigma e) - D(x)) / sigma is normal, and its standard deviation is the gradient's norm. So
    E[d^2] is the squared norm (Lin 2025, arXiv 2501.08316, sec. 3.3), and E|d| sqrt(pi / 2) the norm. This needs no
    double backward, so it compiles.
    """

    sigma: float
    share: float

    def __post_init__(self) -> None:
        if self.sigma < 0 or not 0 < self.share <= 1:
            raise UserError(f"sigma={self.sigma} must be 0 or more, share={self.share} above 0 and at most 1")

    @property
    def twice(self) -> bool:
        """Whether D's gradient is differentiated again."""
        return self.sigma == 0

    @property
    def shares_forward(self) -> bool:
        """Whether the step's own judgement is differentiated, so that its input must require a gradient."""
        return self.sigma == 0 and self.share == 1

    def at(self, step: Step, x: Tensor, view: View, known: Judgement | None = None) -> GradientNorm:
        """At the first rows of `x`, seen through `view`; `known` is the step's own judgement of `x` if there is one."""
        n = math.ceil(self.share * len(x))
        if self.sigma == 0:
            if known is None or n < len(x):
                x = x.detach()[:n].requires_grad_()
                known = step.discriminate(x, view)
            (gradient,) = torch.autograd.grad(total_logit(known).sum(), x, create_graph=True)
            squared = gradient.float().flatten(1).square().sum(1)
            return GradientNorm(squared, squared.add(1e-12).sqrt())  # the root has no derivative at 0
        self._refuse_random(step.D)
        x = x.detach()[:n]
        here = total_logit(known or step.discriminate(x, view))[:n]
        nearby = total_logit(step.discriminate(x + self.sigma * torch.randn_like(x), view))
        difference = (nearby - here) / self.sigma
        return GradientNorm(difference.square(), difference.abs() * math.sqrt(math.pi / 2))

    def _refuse_random(self, D: nn.Module) -> None:
        """Raises UserError where D's logit of the same sample changes between calls, which would count as a slope."""
        for module in D.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd) and module.p:
                raise UserError("a first-order penalty (sigma > 0) needs a discriminator without dropout; set sigma=0")
            if parametrize.is_parametrized(module):
                raise UserError(
                    "a first-order penalty (sigma > 0) needs a discriminator without spectral norm, which changes with "
                    "every forward pass; set sigma=0"
                )
            if isinstance(module, nn.modules.batchnorm._BatchNorm | MinibatchStd) and self.share < 1:
                raise UserError(
                    "a first-order penalty on a share needs a discriminator without batch norm or minibatch deviation; "
                    "set share=1"
                )


def _zero_centred(side: str, sigma: float, share: float) -> Penalty:
    gradients = GradientEstimator(sigma, share)

    def fn(step: Step) -> Tensor:
        x, view, known = (getattr(step, f"{what}{side}") for what in ("", "view_", "on_"))
        return 0.5 * gradients.at(step, x, view, known).squared

    return Penalty("d", fn, grad_of=(side,) if gradients.shares_forward else (), twice=gradients.twice)


@terms.register()
def r1(
    *,
    sigma: float = 0.0,  # 0: exact, by differentiating twice; else to first order, by random steps of this size (0.01)
    share: float = 1.0,  # of the batch that is penalised, in (0, 1]
) -> Penalty:
    """||grad D(x)||^2 / 2 on real data; the weight is gamma (Mescheder 2018, arXiv 1801.04406, eq. 9)."""
    return _zero_centred("real", sigma, share)


@terms.register()
def r2(
    *,
    sigma: float = 0.0,  # 0: exact, by differentiating twice; else to first order, by random steps of this size (0.01)
    share: float = 1.0,  # of the batch that is penalised, in (0, 1]
) -> Penalty:
    """||grad D(G(z))||^2 / 2 on generated data; the weight is gamma (Mescheder 2018, arXiv 1801.04406, eq. 10)."""
    return _zero_centred("fake", sigma, share)


def _interpolated(step: Step) -> Tensor:
    """A random point between each real sample and the fake of its row."""
    t = append_dims(torch.rand(len(step.real), device=step.real.device), step.real.ndim)
    return step.real + t * (step.fake - step.real)


def _one_lipschitz(gradient: GradientNorm, target: float) -> Tensor:
    return gradient.squared - 2 * target * gradient.norm + target**2  # (norm - target)^2, also in expectation


@terms.register()
def wgan_gp(
    *,
    target: float = 1.0,  # norm that the gradient is to have
    sigma: float = 0.0,  # 0: exact, by differentiating twice; else to first order, by random steps of this size (0.01)
    share: float = 1.0,  # of the batch that is penalised, in (0, 1]
) -> Penalty:
    """(||grad D|| - 1)^2 between real and fake (Gulrajani 2017, arXiv 1704.00028, eq. 3)."""
    gradients = GradientEstimator(sigma, share)

    def fn(step: Step) -> Tensor:
        return _one_lipschitz(gradients.at(step, _interpolated(step), step.view_real), target)

    return Penalty("d", fn, twice=gradients.twice)


@terms.register()
def dragan(
    *,
    target: float = 1.0,  # norm that the gradient is to have
    spread: float = 0.5,  # of the random step from a real sample, in standard deviations of the batch
    sigma: float = 0.0,  # 0: exact, by differentiating twice; else to first order, by random steps of this size (0.01)
    share: float = 1.0,  # of the batch that is penalised, in (0, 1]
) -> Penalty:
    """(||grad D|| - 1)^2 around real data: x + spread * std(x) * u, u uniform (Kodali 2017, 1705.07215, alg. 1)."""
    gradients = GradientEstimator(sigma, share)

    def fn(step: Step) -> Tensor:
        around = step.real + spread * step.real.std() * torch.rand_like(step.real)
        return _one_lipschitz(gradients.at(step, around, step.view_real), target)

    return Penalty("d", fn, twice=gradients.twice)


@terms.register()
def wgan_div(
    *,
    power: float = 6.0,  # p, the exponent of the gradient's norm
) -> Penalty:
    """||grad D||^p between real and fake; the weight is k (Wu 2018, arXiv 1712.01026, eq. 10)."""
    gradients = GradientEstimator(sigma=0.0, share=1.0)

    def fn(step: Step) -> Tensor:
        return gradients.at(step, _interpolated(step), step.view_real).squared.pow(power / 2)

    return Penalty("d", fn, twice=gradients.twice)
