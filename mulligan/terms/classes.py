"""Terms by which D learns classes, and G learns to make samples of the class it was given."""

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
        losses, ids = [], step.cond.get("class")
        for judgement in (step.on_real, step.on_fake) if step.side == "d" else (step.on_fake,):
            if judgement.classes is None or ids is None:
                raise UserError(
                    "the auxiliary term needs classes and a D with a classifier; set discriminator.class_by=classifier"
                )
            losses.append(F.cross_entropy(judgement.classes.float(), ids, reduction="none"))
        return torch.stack(losses).sum(0)

    return Penalty("both", fn)


def _twins(judgement: Judgement, ids: Tensor | None) -> tuple[Tensor, Tensor]:
    if judgement.twins is None or ids is None:
        raise UserError("the twin and discriminative terms need classes; set discriminator.class_by=twin")
    return judgement.twins.float(), ids


@terms.register()
def twin() -> Penalty:
    """A classifier of reals, and one of fakes that G works against (TAC; Gong 2019, arXiv 1907.02690, eq. 5)."""

    def fn(step: Step) -> Tensor:
        fake, ids = _twins(step.on_fake, step.cond.get("class"))
        of_fakes = F.cross_entropy(fake[:, 1], ids, reduction="none")
        if step.side == "g":
            return F.cross_entropy(fake[:, 0], ids, reduction="none") - of_fakes
        real, _ = _twins(step.on_real, ids)
        return F.cross_entropy(real[:, 0], ids, reduction="none") + of_fakes

    return Penalty("both", fn)


@terms.register()
def discriminative() -> Penalty:
    """One classifier of real and of generated classes, of 2 K (ADC; Hou 2022, arXiv 2107.10060, eq. 9-10)."""

    def fn(step: Step) -> Tensor:
        fake, ids = _twins(step.on_fake, step.cond.get("class"))
        as_real, as_fake = ids, ids + fake.shape[2]
        loss = F.cross_entropy(fake.flatten(1), as_real if step.side == "g" else as_fake, reduction="none")
        if step.side == "g":
            return loss - F.cross_entropy(fake.flatten(1), as_fake, reduction="none")
        real, _ = _twins(step.on_real, ids)
        return loss + F.cross_entropy(real.flatten(1), as_real, reduction="none")

    return Penalty("both", fn)


@terms.register("multi-hinge")
def multi_hinge(
    *,
    fakes: float = 0.1,  # factor of G's part, relative to D's
) -> Penalty:
    """The class's score is to exceed every other by a margin (Kavalerov 2021, 1912.04216; Crammer, Singer 2001).

    max(0, 1 - C_y + max of the others) of D's classifier C: on reals and fakes for D, on fakes for G, as in the
    authors' code. Raises UserError where D has no classifier or the data no classes.
    """

    def hinge(judgement: Judgement, ids: Tensor | None) -> Tensor:
        if judgement.classes is None or ids is None:
            raise UserError(
                "the multi-hinge term needs classes and a D with a classifier; set discriminator.class_by=both"
            )
        scores = judgement.classes.float()  # (B, K)
        own = F.one_hot(ids, scores.shape[1]).bool()
        return (1 - scores[own] + scores.masked_fill(own, -torch.inf).amax(1)).relu()

    def fn(step: Step) -> Tensor:
        ids = step.cond.get("class")
        on_fake = hinge(step.on_fake, ids)
        return on_fake + hinge(step.on_real, ids) if step.side == "d" else fakes * on_fake

    return Penalty("both", fn)


def _embedded(step: Step) -> tuple[Tensor, Tensor, Tensor]:
    """Of reals for D, of fakes for G: samples (B, E), their classes (B, E), and which pairs share a class (B, B)."""
    pair, ids = (step.on_real if step.side == "d" else step.on_fake).embeddings, step.cond.get("class")
    if pair is None or ids is None:
        raise UserError(
            "the contrastive and data-to-data terms need classes and a D that embeds them; "
            "set discriminator.class_by=contrastive"
        )
    return *pair.float().unbind(1), ids[:, None] == ids


@terms.register()
def contrastive(
    *,
    temperature: float = 1.0,  # of the softmax over cosines
) -> Penalty:
    """Samples close to their class and its other samples, far from all others (2C; Kang, Park 2020, arXiv 2006.12681).

    Raises UserError where D embeds nothing or the data have no classes.
    """

    def fn(step: Step) -> Tensor:
        samples, proxies, same = _embedded(step)
        own = (samples * proxies).sum(1, keepdim=True) / temperature  # (B, 1)
        others = (samples @ samples.T / temperature).fill_diagonal_(-torch.inf)
        positives = torch.cat([own, others.masked_fill(~same, -torch.inf)], 1).logsumexp(1)
        return torch.cat([own, others], 1).logsumexp(1) - positives

    return Penalty("both", fn)


@terms.register("data-to-data")
def data_to_data(
    *,
    near: float = 0.98,  # m_p: no gradient for a sample whose cosine with its class is above this
    far: float = 0.02,  # m_n: no gradient for two samples of different classes whose cosine is below this
    temperature: float = 0.5,  # of the softmax over cosines
) -> Penalty:
    """Cross-entropy of a sample's class among samples of other classes (D2D-CE; Kang 2021, arXiv 2111.01118).

    The whole log-sum-exp is shifted for stability, where the authors' code shifts a part of it. Raises UserError where
    D embeds nothing or the data have no classes.
    """

    def fn(step: Step) -> Tensor:
        samples, proxies, same = _embedded(step)
        own = ((samples * proxies).sum(1, keepdim=True) - near).clamp(max=0) / temperature  # (B, 1)
        others = (samples @ samples.T - far).clamp(min=0) / temperature
        return torch.cat([own, others.masked_fill(same, -torch.inf)], 1).logsumexp(1) - own[:, 0]

    return Penalty("both", fn)
