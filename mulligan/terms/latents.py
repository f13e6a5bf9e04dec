"""Terms about what G makes of its noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.core.step import Penalty, Search, Step
from mulligan.nn.code import code_of
from mulligan.terms.slopes import word


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


@terms.register("path-length")
def path_length(
    *,
    decay: float = 0.01,  # at which the mean length forgets
    share: float = 0.5,  # of the batch that is looked at
) -> Penalty:
    """A step of the style is to move the image equally far wherever it is (Karras 2020, arXiv 1912.04958, eq. 4).

    Raises UserError where G has no styles.
    """

    def fn(step: Step) -> Tensor:
        if not (hasattr(step.G, "styled") and hasattr(step.G, "synthesis")):
            raise UserError("the path-length term needs a generator with styles; set generator=stylegan2")
        n = math.ceil(share * len(step.z))
        ws = step.G.styled(step.z[:n], None if step.cond is None else step.cond[:n])  # (n, L, S)
        image = step.G.synthesis(ws)
        noise = torch.randn_like(image) / math.sqrt(image[0, 0].numel())
        (slope,) = torch.autograd.grad((image * noise).sum(), ws, create_graph=True)
        lengths = slope.float().square().sum(2).mean(1).sqrt()
        mean = step.memory.get("path-length.mean", lengths.new_zeros(())).lerp(lengths.detach().mean(), decay)
        step.memory["path-length.mean"] = mean
        return (lengths - mean).square()

    return Penalty("g", fn)


@terms.register("latent-search")
def latent_search(
    *,
    damping: float = 5.0,  # beta; large against the squared slope: plain ascent, by weight / beta
    share: float = 0.5,  # of the noise numbers of a sample, the first ones, that may move
) -> Search:
    """z up D's slope by natural gradient, a g / (b + |g|^2) for g = dD(G(z))/dz (LOGAN; Wu 2019, arXiv 1912.00953).

    The weight is the step a. The paper holds z within [-1, 1], where its noise is uniform; ours is normal and free.
    """
    if damping <= 0 or not 0 < share <= 1:
        raise UserError(f"damping={damping} must be above 0, share={share} above 0 and at most 1")

    def fn(G: nn.Module, D: nn.Module, z: Tensor, cond: Tensor | None, weight: float) -> Tensor:
        moves, stays = z.flatten(1).tensor_split([math.ceil(share * z[0].numel())], 1)
        moves = moves.detach().requires_grad_()
        start = torch.cat([moves, stays], 1).view_as(z)
        with torch.autocast(z.device.type, enabled=False):  # half precision loses slopes so small
            (slope,) = torch.autograd.grad(word(D(G(start, cond), cond)).sum(), moves, create_graph=True)
        step = weight * slope / (damping + slope.square().sum(1, keepdim=True))
        return torch.cat([moves.detach() + step, stays], 1).view_as(z)

    return Search("both", fn)


@terms.register("latent-distance")
def latent_distance() -> Penalty:
    """How far a search moved the noise, squared: |z' - z|^2 (Wu 2019, arXiv 1912.00953, eq. 17)."""
    return Penalty("both", lambda step: (step.z - step.drawn).flatten(1).square().sum(1))
