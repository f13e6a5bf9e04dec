"""What is added to the adversarial loss: one number per sample, for data of any rank."""

from __future__ import annotations

import torch
from torch import Tensor

from mulligan.core.batch import Judgement, append_dims
from mulligan.core.registry import terms
from mulligan.core.step import Constraint, Penalty, Step


def _squared_gradient(judgement: Judgement, x: Tensor) -> Tensor:
    """||d D(x) / d x||^2 of every sample, heads summed: (B,)."""
    total = torch.stack([head.sum() for head in judgement.logits]).sum()
    (gradient,) = torch.autograd.grad(total, x, create_graph=True)
    return gradient.float().flatten(1).square().sum(1)


@terms.register()
def r1() -> Penalty:
    """||grad D(x)||^2 / 2 on real data; the weight is gamma (Mescheder 2018, arXiv 1801.04406, eq. 9)."""
    return Penalty("d", lambda step: 0.5 * _squared_gradient(step.on_real, step.real), grad_of=("real",))


@terms.register()
def r2() -> Penalty:
    """||grad D(G(z))||^2 / 2 on generated data; the weight is gamma (Mescheder 2018, eq. 10)."""
    return Penalty("d", lambda step: 0.5 * _squared_gradient(step.on_fake, step.fake), grad_of=("fake",))


def _one_lipschitz(step: Step, x: Tensor, target: float) -> Tensor:
    x = x.detach().requires_grad_()
    return (_squared_gradient(step.judge(x), x).add(1e-12).sqrt() - target).square()  # sqrt has no slope at 0


@terms.register()
def wgan_gp(*, target: float = 1.0) -> Penalty:
    """(||grad D|| - 1)^2 between real and fake (Gulrajani 2017, arXiv 1704.00028, eq. 3)."""

    def fn(step: Step) -> Tensor:
        t = append_dims(torch.rand(len(step.real), device=step.real.device), step.real.ndim)
        return _one_lipschitz(step, step.real + t * (step.fake - step.real), target)

    return Penalty("d", fn)


@terms.register()
def dragan(*, target: float = 1.0, spread: float = 0.5) -> Penalty:
    """(||grad D|| - 1)^2 around real data: x + spread * std(x) * u, u uniform (Kodali 2017, 1705.07215, alg. 1)."""

    def fn(step: Step) -> Tensor:
        return _one_lipschitz(step, step.real + spread * step.real.std() * torch.rand_like(step.real), target)

    return Penalty("d", fn)


@terms.register()
def l1() -> Penalty:
    """Mean |G(z) - x|: keeps G near the image it was paired with (Isola 2017, arXiv 1611.07004, eq. 3)."""
    return Penalty("g", lambda step: (step.fake - step.real).flatten(1).abs().mean(1))


@terms.register()
def mse() -> Penalty:
    """Mean squared error ||G(z) - x||^2 / size of x."""
    return Penalty("g", lambda step: (step.fake - step.real).flatten(1).square().mean(1))


@terms.register()
def clip() -> Constraint:
    """D's weights clamped to [-weight, weight] after its step (Arjovsky 2017, arXiv 1701.07875, alg. 1)."""

    @torch.no_grad()
    def fn(step: Step, weight: float) -> None:
        for parameter in step.D.parameters():
            parameter.clamp_(-weight, weight)

    return Constraint("d", fn)
