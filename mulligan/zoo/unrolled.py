"""`unrolled`: G anticipates the next steps of D."""

from __future__ import annotations

from mulligan.core.recipe import Recipe, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.gan import gan


@recipes.register()
def unrolled() -> Recipe:
    """Unrolled steps are plain gradient descent (paper: Adam). D has no dropout, which would differ in every step."""
    parent = gan()
    return derived(
        parent,
        name="unrolled",
        about="G is judged by a D that is some steps ahead, so that moving from mode to mode does not pay off",
        paper="Metz, Poole, Pfau, Sohl-Dickstein 2017, Unrolled Generative Adversarial Networks, arXiv 1611.02163",
        discriminator=parent.discriminator.with_options(dropout=0.0),
        terms={"unrolled": Term(1.0)},
    )
