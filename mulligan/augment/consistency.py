"""Terms that ask D to say the same of what means the same."""

from __future__ import annotations

import torch
from torch import Tensor

from mulligan.augment.operations import Dice, augment
from mulligan.core.batch import Judgement
from mulligan.core.registry import terms
from mulligan.core.step import Penalty, Step


def _apart(a: Judgement, b: Judgement) -> Tensor:
    """Squared difference of two words on the same samples, over all heads and their places: (B,)."""
    squares = [(x - y).square() for x, y in zip(a.logits, b.logits, strict=True)]
    return torch.stack([each.flatten(1).mean(1) if each.ndim > 1 else each for each in squares]).sum(0)


@terms.register()
def consistency(
    *,
    operations: tuple[str, ...] = ("flip", "shift"),  # that an image stays the same under, as D is to see it
    fakes: bool = False,  # also of generated images
) -> Penalty:
    """(D(x) - D(T(x)))^2 on reals (Zhang 2020, arXiv 1910.12027, eq. 3), or fakes too (Zhao 2021, 2002.04724)."""

    def changed(step: Step, x: Tensor) -> Judgement:
        dice = Dice(int(torch.randint(1 << 62, ()).item()), 1.0, len(x), len(x), x.device)
        return step.judge(x.detach(), lambda x: augment(x.float(), operations, dice))

    def fn(step: Step) -> Tensor:
        found = _apart(step.on_real, changed(step, step.real))
        return found + _apart(step.on_fake, changed(step, step.fake)) if fakes else found

    return Penalty("d", fn)


@terms.register("latent-consistency")
def latent_consistency(
    *,
    sigma: float = 0.03,  # by how much the noise is changed
    variety: float = 0.1,  # what G gains by drawing the two differently, over what D loses by telling them apart
) -> Penalty:
    """Noise changed a little: D is to say the same of both images, G to draw them apart (Zhao 2021, alg. 2)."""

    def fn(step: Step) -> Tensor:
        z = step.z + sigma * torch.randn_like(step.z)
        with torch.set_grad_enabled(step.side == "g"):
            other = step.G(z, step.cond)
        if step.side == "d":
            return _apart(step.on_fake, step.judge(other, step.view_fake))
        return -variety * (step.fake - other).square().flatten(1).mean(1)

    return Penalty("both", fn)
