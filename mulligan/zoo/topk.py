"""`topk`: G learns from its best samples."""

from __future__ import annotations

from mulligan.core.recipe import Recipe, Schedule, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.dcgan import dcgan


@recipes.register()
def topk() -> Recipe:
    """DCGAN; the share falls to a half, linearly over the budget; in the paper by a constant factor per epoch."""
    return derived(
        dcgan(),
        name="topk",
        about="G learns only from those fakes of a batch that D rates most real, a share that decreases",
        paper="Sinha, Zhao, Goyal, Raffel, Odena 2020, Top-k Training of GANs: Improving GAN Performance by Throwing "
        "Away Bad Samples, arXiv 2002.06224",
        terms={"top-k": Term(Schedule("linear", 1.0, 0.5))},
    )
