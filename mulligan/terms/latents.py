"""Terms about how samples depend on G's noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.core.condition import Condition
from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.core.step import LatentUpdate, Penalty, Step
from mulligan.nn.code import code_of
from mulligan.terms.gradient_penalties import total_logit


@terms.register()
def information() -> Penalty:
    """Cross-entropy of the code that D predicts from a fake, for both players (Chen 2016, arXiv 1606.03657, eq. 5).

    Raises UserError where D predicts none.
    """

    def fn(step: Step) -> Tensor:
        logits = step.on_fake.codes
        if logits is None:
            raise UserError(
                "the information term needs a D that predicts codes; set generator.codes and discriminator.codes to 10"
            )
        return F.cross_entropy(logits.float(), code_of(step.z, logits.shape[1]), reduction="none")

    return Penalty("both", fn)


@terms.register("path-length")
def path_length(
    *,
    decay: float = 0.01,  # weight of the newest batch in the running mean length
    share: float = 0.5,  # of the batch that is used, in (0, 1]
) -> Penalty:
    """A step in style space is to change the sample equally much wherever it is (Karras 2020, arXiv 1912.04958, eq. 4).

    Raises UserError where G has no styles.
    """

    def fn(step: Step) -> Tensor:
        if not step.G.has_styles:
            raise UserError("the path-length term needs a generator with styles; set generator=stylegan2")
        n = math.ceil(share * len(step.z))
        ws = step.G.styled(step.z[:n], step.cond.take(slice(n)))  # (n, L, S)
        image = step.G.synthesis(ws)
        noise = torch.randn_like(image) / math.sqrt(image[0, 0].numel())
        (gradient,) = torch.autograd.grad((image * noise).sum(), ws, create_graph=True)
        lengths = gradient.float().square().sum(2).mean(1).sqrt()
        mean = step.memory.get("path-length.mean", lengths.new_zeros(())).lerp(lengths.detach().mean(), decay)
        step.memory["path-length.mean"] = mean
        return (lengths - mean).square()

    return Penalty("g", fn, twice=True)


@terms.register("latent-search")
def latent_search(
    *,
    damping: float = 5.0,  # beta; large against the squared gradient: plain ascent, with a rate of weight / beta
    share: float = 0.5,  # of a sample's noise numbers, the first ones, that may change; in (0, 1]
) -> LatentUpdate:
    """Natural gradient ascent of z on D: z + a g / (b + |g|^2) for g = dD(G(z))/dz (LOGAN; Wu 2019, arXiv 1912.00953).

    The weight is the step a. The paper clamps z to [-1, 1], the range of its uniform noise; ours is normal and free.
    """
    if damping <= 0 or not 0 < share <= 1:
        raise UserError(f"damping={damping} must be above 0, share={share} above 0 and at most 1")

    def fn(G: nn.Module, D: nn.Module, z: Tensor, cond: Condition, weight: float) -> Tensor:
        free, fixed = z.flatten(1).tensor_split([math.ceil(share * z[0].numel())], 1)
        free = free.detach().requires_grad_()
        start = torch.cat([free, fixed], 1).view_as(z)
        with torch.autocast(z.device.type, enabled=False):  # half precision loses gradients this small
            (gradient,) = torch.autograd.grad(total_logit(D(G(start, cond), cond)).sum(), free, create_graph=True)
        step = weight * gradient / (damping + gradient.square().sum(1, keepdim=True))
        return torch.cat([free.detach() + step, fixed], 1).view_as(z)

    return LatentUpdate("both", fn)


@terms.register("latent-distance")
def latent_distance() -> Penalty:
    """How far `latent-search` moved the noise, squared: |z' - z|^2 (Wu 2019, arXiv 1912.00953, eq. 17)."""
    return Penalty("both", lambda step: (step.z - step.z_drawn).flatten(1).square().sum(1))
