"""Terms that make D give the same output for inputs that mean the same."""

from __future__ import annotations

import torch
from torch import Tensor

from mulligan.augment.operations import SampleRng, augment
from mulligan.core.batch import Judgement, sample_means
from mulligan.core.registry import terms
from mulligan.core.step import Penalty, Step


def _difference(a: Judgement, b: Judgement) -> Tensor:
    """Squared difference of the logits of two judgements of the same samples, summed over heads: (B,)."""
    squares = [(x - y).square() for x, y in zip(a.logits, b.logits, strict=True)]
    return torch.stack([sample_means(each) for each in squares]).sum(0)


@terms.register(kinds={"image"})
def consistency(
    *,
    operations: tuple[str, ...] = ("flip", "shift"),  # of `ada`, that are not to change D's output
    fakes: bool = False,  # also of generated images
) -> Penalty:
    """(D(x) - D(T(x)))^2 on reals (Zhang 2020, arXiv 1910.12027, eq. 3), or fakes too (Zhao 2021, 2002.04724)."""

    def changed(step: Step, x: Tensor) -> Judgement:
        rng = SampleRng(int(torch.randint(1 << 62, ()).item()), 1.0, len(x), len(x), x.device)
        return step.discriminate(x.detach(), lambda x: augment(x.float(), operations, rng))

    def fn(step: Step) -> Tensor:
        found = _difference(step.on_real, changed(step, step.real))
        return found + _difference(step.on_fake, changed(step, step.fake)) if fakes else found

    return Penalty("d", fn)


@terms.register("latent-consistency")
def latent_consistency(
    *,
    sigma: float = 0.03,  # standard deviation of what is added to the noise
    variety: float = 0.1,  # weight of G's term, which makes both samples differ, relative to D's
) -> Penalty:
    """Noise changed a little: D gives both samples the same output, G makes them differ (Zhao 2021, alg. 2)."""

    def fn(step: Step) -> Tensor:
        z = step.z + sigma * torch.randn_like(step.z)
        with torch.set_grad_enabled(step.side == "g"):
            other = step.G(z, step.cond)
        if step.side == "d":
            return _difference(step.on_fake, step.discriminate(other, step.view_fake))
        return -variety * (step.fake - other).square().flatten(1).mean(1)

    return Penalty("both", fn)
