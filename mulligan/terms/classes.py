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


@terms.register("multi-hinge")
def multi_hinge(
    *,
    fakes: float = 0.1,  # what G's part counts, beside D's
) -> Penalty:
    """The class's score a margin above every other's (Kavalerov 2021, arXiv 1912.04216; Crammer, Singer 2001).

    max(0, 1 - C_y + max of the others) of D's classifier C: on reals and fakes for D, on fakes for G, as the authors'
    code has it. Raises UserError where D has no classifier or the data no classes.
    """

    def hinge(judgement: Judgement, cond: Tensor | None) -> Tensor:
        if judgement.classes is None or cond is None:
            raise UserError(
                "the multi-hinge term needs classes and a D that tells them; set discriminator.class_by=both"
            )
        scores = judgement.classes.float()  # (B, K)
        own = F.one_hot(cond, scores.shape[1]).bool()
        return (1 - scores[own] + scores.masked_fill(own, -torch.inf).amax(1)).relu()

    def fn(step: Step) -> Tensor:
        on_fake = hinge(step.on_fake, step.cond)
        return on_fake + hinge(step.on_real, step.cond) if step.side == "d" else fakes * on_fake

    return Penalty("both", fn)


def _embedded(step: Step) -> tuple[Tensor, Tensor, Tensor]:
    """Of reals for D, of fakes for G: samples (B, E), their classes (B, E), and which have a class in common (B, B)."""
    pair = (step.on_real if step.side == "d" else step.on_fake).embeddings
    if pair is None or step.cond is None:
        raise UserError(
            "the contrastive and data-to-data terms need classes and a D that embeds them; "
            "set discriminator.class_by=contrastive"
        )
    return *pair.float().unbind(1), step.cond[:, None] == step.cond


@terms.register()
def contrastive(*, temperature: float = 1.0) -> Penalty:
    """Samples near their class and others of it, far from other samples (2C; Kang, Park 2020, arXiv 2006.12681).

    Raises UserError where D embeds nothing or the data have no classes.
    """

    def fn(step: Step) -> Tensor:
        samples, proxies, alike = _embedded(step)
        own = (samples * proxies).sum(1, keepdim=True) / temperature  # (B, 1)
        others = (samples @ samples.T / temperature).fill_diagonal_(-torch.inf)
        near = torch.cat([own, others.masked_fill(~alike, -torch.inf)], 1).logsumexp(1)
        return torch.cat([own, others], 1).logsumexp(1) - near

    return Penalty("both", fn)


@terms.register("data-to-data")
def data_to_data(
    *,
    near: float = 0.98,  # m_p: a sample whose cosine with its class is above this is let alone
    far: float = 0.02,  # m_n: so are two of different classes below this
    temperature: float = 0.5,
) -> Penalty:
    """Cross-entropy of a sample's class among samples of other classes (D2D-CE; Kang 2021, arXiv 2111.01118).

    The sum over negatives is shifted for stability as a whole, unlike the authors' code, which shifts a part of it.
    Raises UserError where D embeds nothing or the data have no classes.
    """

    def fn(step: Step) -> Tensor:
        samples, proxies, alike = _embedded(step)
        own = ((samples * proxies).sum(1, keepdim=True) - near).clamp(max=0) / temperature  # (B, 1)
        others = (samples @ samples.T - far).clamp(min=0) / temperature
        return torch.cat([own, others.masked_fill(alike, -torch.inf)], 1).logsumexp(1) - own[:, 0]

    return Penalty("both", fn)
