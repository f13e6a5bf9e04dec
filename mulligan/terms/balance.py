"""Terms that hold what D says of reals and fakes in balance, and remember from step to step."""

from __future__ import annotations

import torch
from torch import Tensor

from mulligan.core.registry import terms
from mulligan.core.step import Penalty, Step
from mulligan.terms.slopes import word


@terms.register()
def lecam(*, decay: float = 0.99) -> Penalty:
    """D's words on reals and fakes near the running mean of those on the others (Tseng 2021, 2104.03310, eq. 3).

    Unlike the authors' code, which counts only what lies beyond the mean, as written in the paper.
    """

    def fn(step: Step) -> Tensor:
        words = {"real": word(step.on_real), "fake": word(step.on_fake)}
        means = {}
        for name, said in words.items():
            now = said.detach().mean()
            means[name] = step.memory.get(f"lecam.{name}", now).lerp(now, 1 - decay)
            step.memory[f"lecam.{name}"] = means[name]
        return (words["real"] - means["fake"]).square() + (words["fake"] - means["real"]).square()

    return Penalty("d", fn)


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
        real, fake = -word(step.on_real), -word(step.on_fake)
        k = step.memory.get("equilibrium.k", torch.zeros((), device=fake.device))
        step.memory["equilibrium.k"] = (k + rate * (ratio * real - fake).detach().mean()).clamp(0, 1)
        return (1 - k) * fake

    return Penalty("d", fn)


@terms.register()
def drift() -> Penalty:
    """D(x)^2 on reals, lest a critic whose zero nothing holds drifts away (Karras 2018, 1710.10196, app. A.1)."""
    return Penalty("d", lambda step: word(step.on_real).square())
