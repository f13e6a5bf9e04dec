"""Terms by which D learns classes, and G draws what it is told."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mulligan.core.batch import Judgement
from mulligan.core.errors import UserError
from mulligan.core.registry import terms
from mulligan.core.step import Penalty, Step


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
