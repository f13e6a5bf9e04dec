"""`cat`: D judges each output stage of a transformer at its own scale, and the stages are kept consistent."""

from __future__ import annotations

from mulligan.core.recipe import OptimizerPair, Part, Recipe, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.gat import WIDTH, gat


@recipes.register()
def cat() -> Recipe:
    """A size for a laptop. No code is public: `models/cat.py` says what is from the paper and what is ours.

    With the learning rate of `gat`'s rule, made for networks at least six times as wide, G left [-1, 1] for good.
    """
    parent = gat()
    adam = parent.optimizer.generator.with_options(lr=5e-4)
    return derived(
        parent,
        name="cat",
        about="every stage of G is judged at its own scale, and trained to be a coarse version of the last stage",
        paper="Hyun, Lee, Heo 2026, Cross-scale Aligned Supervision for Training GANs, arXiv 2605.26449",
        generator=Part("cat", width=WIDTH),
        discriminator=Part("cat", width=WIDTH),
        optimizer=OptimizerPair(generator=adam, discriminator=adam),
        terms={"stage-consistency": Term(1.0), **{name: parent.terms[name] for name in ("r1", "r2")}},
    )
