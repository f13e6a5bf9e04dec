"""A term that lets G see what D will make of its move."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from mulligan.core.batch import Judgement
from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.core.step import Penalty, Step


@terms.register()
def unrolled(
    *,
    steps: int = 5,  # that D is ahead
    rate: float = 0.01,  # of its gradient steps
) -> Penalty:
    """G's loss under a D that has answered it, in place of D as it is (Metz 2017, arXiv 1611.02163, eq. 6-8).

    D's answer is so many plain gradient steps on the same batch, and G's gradient runs through them. What is added is
    the difference to the loss under D as it is, so that with weight 1 only the answered one is left. Costs about twice
    as many turns of D as there are steps. Raises UserError for fewer than one.
    """
    if steps < 1:
        raise UserError(f"unrolled: steps={steps} must be at least 1")

    def fn(step: Step) -> Tensor:
        weights = {name: each.detach().requires_grad_() for name, each in step.D.named_parameters()}
        buffers = {name: each.clone() for name, each in step.D.named_buffers()}  # statistics are not to move

        def ahead(x: Tensor, cond: Tensor | None) -> Judgement:
            return functional_call(step.D, weights | buffers, (x, cond))

        for _ in range(steps):
            answer = step.under(ahead, "d").adversarial().mean()
            slopes = torch.autograd.grad(answer, list(weights.values()), create_graph=True, allow_unused=True)
            weights = {
                name: each if slope is None else each - rate * slope
                for (name, each), slope in zip(weights.items(), slopes, strict=True)
            }
        return step.under(ahead, "g").adversarial() - step.adversarial()

    return Penalty("g", fn)
