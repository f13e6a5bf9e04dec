"""Adversarial losses: named pairs of pure functions of logits, one number per logit, larger logit = more real."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from mulligan.core.registry import losses
from mulligan.core.step import Loss


def _cross_entropy_d(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(-real) + F.softplus(fake)  # -log D(x) - log(1 - D(G(z))), D = sigmoid of the logit


@losses.register()
def minimax() -> Loss:
    """Cross-entropy, zero-sum: G minimises log(1 - D(G(z))) and saturates (Goodfellow 2014, arXiv 1406.2661, eq. 1)."""
    return Loss(d=_cross_entropy_d, g=lambda fake: -F.softplus(fake))


@losses.register()
def nonsaturating() -> Loss:
    """Cross-entropy where G minimises -log D(G(z)), whose gradient is strong while D wins (Goodfellow 2014, sec. 3)."""
    return Loss(d=_cross_entropy_d, g=lambda fake: F.softplus(-fake))


@losses.register()
def least_squares(
    *,
    fake: float = 0.0,  # a: D's target for generated samples
    real: float = 1.0,  # b: D's target for real samples
    wanted: float = 1.0,  # c: G's target for D's logits of generated samples
) -> Loss:
    """Half squared errors to the targets a, b, c (Mao 2017, arXiv 1611.04076, eq. 9)."""
    return Loss(
        d=lambda on_real, on_fake: 0.5 * (on_real - real).square() + 0.5 * (on_fake - fake).square(),
        g=lambda on_fake: 0.5 * (on_fake - wanted).square(),
    )


@losses.register()
def hinge() -> Loss:
    """D gains nothing beyond a margin of 1 (Lim, Ye 2017, 1705.02894; Miyato 2018, arXiv 1802.05957, eq. 16-17)."""
    return Loss(d=lambda real, fake: F.relu(1 - real) + F.relu(1 + fake), g=lambda fake: -fake)


@losses.register()
def wasserstein() -> Loss:
    """An estimate of the earth mover's distance, where D is 1-Lipschitz (Arjovsky 2017, arXiv 1701.07875, eq. 2)."""
    return Loss(d=lambda real, fake: fake - real, g=lambda fake: -fake)


@losses.register()
def margin(
    *,
    margin: float = 1.0,  # energy of fakes beyond which D gains nothing
) -> Loss:
    """The logit is minus an energy: low on reals, up to the margin on fakes (Zhao 2017, arXiv 1609.03126)."""
    return Loss(d=lambda real, fake: -real + F.relu(margin + fake), g=lambda fake: -fake)


@losses.register()
def relativistic() -> Loss:
    """Each real sample against the fake of its row (RpGAN; Jolicoeur-Martineau 2018, arXiv 1807.00734)."""
    return Loss(
        d=lambda real, fake: F.softplus(fake - real), g=lambda real, fake: F.softplus(real - fake), g_sees_real=True
    )


@losses.register()
def relativistic_average() -> Loss:
    """Each real against the mean of the fakes, and the reverse (RaGAN; Jolicoeur-Martineau 2018, eq. 8-9)."""

    def d(real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(fake.mean(0) - real) + F.softplus(fake - real.mean(0))

    return Loss(d=d, g=lambda real, fake: d(fake, real), g_sees_real=True)
