"""`cat`: each stage of a transformer's drawing is judged at its own scale, and follows the last."""

from __future__ import annotations

from mulligan.core.recipe import Part, Players, Recipe, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.gat import WIDTH, gat


@recipes.register()
def cat() -> Recipe:
    """A laptop's size. No code is public: see `models/cat.py` for what is the paper's and what is ours.

    At the rate of `gat`'s rule, which is of networks six times as wide and more, G left [-1, 1] for good.
    """
    parent = gat()
    adam = parent.optimizer.generator.with_options(lr=5e-4)
    return derived(
        parent,
        name="cat",
        about="every stage of G is judged at its own scale, and made to be a coarse version of the last",
        paper="Hyun, Lee, Heo 2026, Cross-scale Aligned Supervision for Training GANs, arXiv 2605.26449",
        generator=Part("cat", width=WIDTH),
        discriminator=Part("cat", width=WIDTH),
        optimizer=Players(generator=adam, discriminator=adam),
        terms={"stage-consistency": Term(1.0), **{name: parent.terms[name] for name in ("r1", "r2")}},
    )
