"""A term that lets G see what D will make of its move."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from mulligan.core import registry
from mulligan.core.batch import Judgement
from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.core.step import Penalty, Step, over_heads


@terms.register()
def unrolled(
    *,
    steps: int = 5,  # that D is ahead
    rate: float = 0.01,  # of its gradient steps
    loss: str = "nonsaturating",  # the recipe's: what D learns by, and what G is to be judged by
) -> Penalty:
    """G's loss under a D that has answered it, in place of D as it is (Metz 2017, arXiv 1611.02163, eq. 6-8).

    D's answer is so many plain gradient steps on the same batch, and G's gradient runs through them. What is added is
    the difference to the loss under D as it is, so that with weight 1 only the answered one is left. Costs about twice
    as many turns of D as there are steps. Raises UserError for fewer than one.
    """
    if steps < 1:
        raise UserError(f"unrolled: steps={steps} must be at least 1")
    pair = registry.losses[loss]()

    def of_g(real: Judgement | None, fake: Judgement) -> Tensor:
        if pair.g_sees_real:
            assert real is not None
            return over_heads(map(pair.g, real.logits, fake.logits))
        return over_heads(map(pair.g, fake.logits))

    def fn(step: Step) -> Tensor:
        real, fake = step.view_real(step.real), step.view_fake(step.fake)
        weights = {name: each.detach().requires_grad_() for name, each in step.D.named_parameters()}
        buffers = {name: each.clone() for name, each in step.D.named_buffers()}  # statistics are not to move

        def judged(x: Tensor) -> Judgement:
            return functional_call(step.D, weights | buffers, (x, step.cond))

        for _ in range(steps):
            on_real, on_fake = judged(real), judged(fake)
            answer = over_heads(map(pair.d, on_real.logits, on_fake.logits)).mean()
            slopes = torch.autograd.grad(answer, list(weights.values()), create_graph=True, allow_unused=True)
            weights = {
                name: each if slope is None else each - rate * slope
                for (name, each), slope in zip(weights.items(), slopes, strict=True)
            }
        real_now = step.on_real if pair.g_sees_real else None
        real_then = judged(real) if pair.g_sees_real else None
        return of_g(real_then, judged(fake)) - of_g(real_now, step.on_fake)

    return Penalty("g", fn)
