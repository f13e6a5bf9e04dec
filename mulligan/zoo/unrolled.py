"""`unrolled`: G looks ahead."""

from __future__ import annotations

from mulligan.core.recipe import Recipe, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.gan import gan


@recipes.register()
def unrolled() -> Recipe:
    """Plain gradient steps of D, where the paper's toys have Adam's; D without dropout, or it would answer others."""
    parent = gan()
    return derived(
        parent,
        name="unrolled",
        about="G is judged by a D that has answered it some steps ahead, so that running from mode to mode is vain",
        paper="Metz, Poole, Pfau, Sohl-Dickstein 2017, Unrolled Generative Adversarial Networks, arXiv 1611.02163",
        discriminator=parent.discriminator.with_options(dropout=0.0),
        terms={"unrolled": Term(1.0)},
    )
