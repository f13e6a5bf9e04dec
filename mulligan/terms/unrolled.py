"""A term by which G takes D's next steps into account."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from mulligan.core.batch import Judgement
from mulligan.core.condition import Condition
from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.core.step import Penalty, Step


@terms.register()
def unrolled(
    *,
    steps: int = 5,  # gradient steps that D takes in answer
    rate: float = 0.01,  # learning rate of these steps
) -> Penalty:
    """G's loss under a D that has answered it, in place of D as it is (Metz 2017, arXiv 1611.02163, eq. 6-8).

    D's answer is that many plain gradient steps on the same batch, and G's gradient goes through them. What is added is
    the difference from the loss under the present D, so that with weight 1 only the loss under the answer is left. The
    cost is that of about two turns of D for each step. Raises UserError for fewer than one step.
    """
    if steps < 1:
        raise UserError(f"unrolled: steps={steps} must be at least 1")

    def fn(step: Step) -> Tensor:
        weights = {name: each.detach().requires_grad_() for name, each in step.D.named_parameters()}
        buffers = {name: each.clone() for name, each in step.D.named_buffers()}  # running statistics must not change

        def answered(x: Tensor, cond: Condition) -> Judgement:
            return functional_call(step.D, weights | buffers, (x, cond))

        for _ in range(steps):
            loss = step.with_discriminator(answered, "d").adversarial().mean()
            gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True, allow_unused=True)
            weights = {
                name: each if gradient is None else each - rate * gradient
                for (name, each), gradient in zip(weights.items(), gradients, strict=True)
            }
        return step.with_discriminator(answered, "g").adversarial() - step.adversarial()

    return Penalty("g", fn, twice=True)
