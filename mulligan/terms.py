"""What is added to the adversarial loss: one number per sample, for data of any rank."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from mulligan.core.batch import Judgement, append_dims
from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.core.step import Constraint, Penalty, Step, View
from mulligan.nn.code import code_of


class Slope(NamedTuple):
    """What is known of D's gradient at n points."""

    squared: Tensor  # (n,) its squared norm, or numbers whose expectation that is
    norm: Tensor  # (n,) the same of its norm


def _word(judgement: Judgement) -> Tensor:
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
            (gradient,) = torch.autograd.grad(_word(known).sum(), x, create_graph=True)
            squared = gradient.float().flatten(1).square().sum(1)
            return Slope(squared, squared.add(1e-12).sqrt())  # a root has no slope at 0
        self._refuse_chance(step.D)
        x = x.detach()[:n]
        here = _word(known or step.judge(x, view))[:n]
        difference = (_word(step.judge(x + self.sigma * torch.randn_like(x), view)) - here) / self.sigma
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
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and self.share < 1:
                raise UserError(
                    "a first-order penalty on a share needs a discriminator without batch norm; set share=1"
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


@terms.register()
def lecam(*, decay: float = 0.99) -> Penalty:
    """D's words on reals and fakes near the running mean of those on the others (Tseng 2021, 2104.03310, eq. 3).

    Unlike the authors' code, which counts only what lies beyond the mean, as written in the paper.
    """

    def fn(step: Step) -> Tensor:
        words = {"real": _word(step.on_real), "fake": _word(step.on_fake)}
        means = {}
        for name, word in words.items():
            now = word.detach().mean()
            means[name] = step.memory.get(f"lecam.{name}", now).lerp(now, 1 - decay)
            step.memory[f"lecam.{name}"] = means[name]
        return (words["real"] - means["fake"]).square() + (words["fake"] - means["real"]).square()

    return Penalty("d", fn)


@terms.register()
def auxiliary() -> Penalty:
    """Cross-entropy of D's classifier: on reals and fakes for D, on fakes for G (Odena 2017, arXiv 1610.09585, eq. 3).

    Raises UserError where D has no classifier or the data no classes.
    """

    def fn(step: Step) -> Tensor:
        wrong = []
        for judgement in (step.on_real, step.on_fake) if step.side == "d" else (step.on_fake,):
            if judgement.classes is None or step.cond is None:
                raise UserError(
                    "the auxiliary term needs classes and a D that tells them; set discriminator.class_by=classifier"
                )
            wrong.append(F.cross_entropy(judgement.classes.float(), step.cond, reduction="none"))
        return torch.stack(wrong).sum(0)

    return Penalty("both", fn)


def _twins(judgement: Judgement, cond: Tensor | None) -> tuple[Tensor, Tensor]:
    if judgement.twins is None or cond is None:
        raise UserError("the twin and discriminative terms need classes; set discriminator.class_by=twin")
    return judgement.twins.float(), cond


@terms.register()
def twin() -> Penalty:
    """A classifier of reals, and one of fakes that G works against (TAC; Gong 2019, arXiv 1907.02690, eq. 5)."""

    def fn(step: Step) -> Tensor:
        fake, cond = _twins(step.on_fake, step.cond)
        of_fakes = F.cross_entropy(fake[:, 1], cond, reduction="none")
        if step.side == "g":
            return F.cross_entropy(fake[:, 0], cond, reduction="none") - of_fakes
        real, _ = _twins(step.on_real, step.cond)
        return F.cross_entropy(real[:, 0], cond, reduction="none") + of_fakes

    return Penalty("both", fn)


@terms.register()
def discriminative() -> Penalty:
    """One classifier of real and of generated classes, of 2 K (ADC; Hou 2022, arXiv 2107.10060, eq. 9-10)."""

    def fn(step: Step) -> Tensor:
        fake, cond = _twins(step.on_fake, step.cond)
        as_real, as_fake = cond, cond + fake.shape[2]
        taken_for = F.cross_entropy(fake.flatten(1), as_real if step.side == "g" else as_fake, reduction="none")
        if step.side == "g":
            return taken_for - F.cross_entropy(fake.flatten(1), as_fake, reduction="none")
        real, _ = _twins(step.on_real, step.cond)
        return taken_for + F.cross_entropy(real.flatten(1), as_real, reduction="none")

    return Penalty("both", fn)


@terms.register()
def information() -> Penalty:
    """Cross-entropy of the code that D reads from a fake, for both players (Chen 2016, arXiv 1606.03657, eq. 5).

    Raises UserError where D reads none.
    """

    def fn(step: Step) -> Tensor:
        read = step.on_fake.codes
        if read is None:
            raise UserError(
                "the information term needs a code that D reads; set generator.codes and discriminator.codes to 10"
            )
        return F.cross_entropy(read.float(), code_of(step.z, read.shape[1]), reduction="none")

    return Penalty("both", fn)


@terms.register()
def equilibrium(
    *,
    ratio: float = 0.5,  # gamma: of D's errors, on fakes over on reals; smaller: cleaner and more alike
    rate: float = 0.001,  # lambda: of k
) -> Penalty:
    """D owes k times its loss on fakes, k steered to keep their ratio (Berthelot 2017, arXiv 1703.10717, eq. 8).

    Beside the loss `wasserstein`, of a D whose logit is minus an error, which already counts fakes once: this adds
    (k - 1) times. k begins at 0.
    """

    def fn(step: Step) -> Tensor:
        real, fake = -_word(step.on_real), -_word(step.on_fake)
        k = step.memory.get("equilibrium.k", torch.zeros((), device=fake.device))
        step.memory["equilibrium.k"] = (k + rate * (ratio * real - fake).detach().mean()).clamp(0, 1)
        return (1 - k) * fake

    return Penalty("d", fn)


@terms.register("pull-away")
def pull_away() -> Penalty:
    """How alike the codes of different fakes are: squared cosines (Zhao 2017, arXiv 1609.03126, eq. 4).

    Of the first features of D, (B, E).
    """

    def fn(step: Step) -> Tensor:
        codes = F.normalize(step.on_fake.features[0].float().flatten(1))
        alike = (codes @ codes.T).square()
        return (alike.sum(1) - 1) / max(1, len(codes) - 1)  # each with itself is 1

    return Penalty("g", fn)


@terms.register()
def orthogonal() -> Penalty:
    """Off-diagonal products of the rows of G's weights, squared (Brock 2019, arXiv 1809.11096, eq. 3).

    The lengths of the rows are free: only how alike they are counts.
    """

    def fn(step: Step) -> Tensor:
        alike = []
        for layer in step.G.modules():
            if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd):
                rows = layer.weight.float().flatten(1)
                products = rows @ rows.T
                alike.append((products - products.diag().diag()).square().sum())
        return torch.stack(alike).sum()[None]

    return Penalty("g", fn)


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
