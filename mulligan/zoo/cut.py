"""`cut` and `fastcut` as published, and `restyle-cut`: the same game, lean, for two CPU cores and small pictures."""

from __future__ import annotations

from mulligan.core.recipe import Budget, Part, Recipe, Term, derived
from mulligan.core.registry import recipes
from mulligan.zoo.cyclegan import cyclegan, restyle


@recipes.register()
def cut() -> Recipe:
    """Section 3 and appendix C of the paper: one way only. Where it is not as there, `cyclegan` is not either."""
    parent = cyclegan()
    return derived(
        parent,
        name="cut",
        about="one generator: each place of what it makes is told by what was shown there, among other places",
        paper="Park, Efros, Zhang, Zhu 2020, Contrastive Learning for Unpaired Image-to-Image Translation, "
        "arXiv 2007.15651",
        generator=parent.generator.with_options(heads=256),
        terms={"patch-nce": Term(1.0), "identity-nce": Term(1.0)},
        task=Part("style", ways=1),
        batch=1,
    )


@recipes.register()
def fastcut() -> Recipe:
    """Section 4 of the paper. Not as there: pictures are not mirrored to hold G to it."""
    return derived(
        cut(),
        name="fastcut",
        about="no look at what is at home already, and ten times the weight on places: half the time",
        terms={"patch-nce": Term(10.0)},
        budget=Budget(epochs=200),
    )


@recipes.register("restyle-cut")
def restyle_cut() -> Recipe:
    """`restyle` one way."""
    return derived(
        restyle(),
        name="restyle-cut",
        about="one way by a slim network, places told apart, a spectral D of small patches: minutes of a CPU",
        paper="Mulligan; parts from arXiv 2007.15651, 1802.05957",
        generator=Part("translator", width=16, blocks=3, norm="instance", heads=64),
        terms={"patch-nce": Term(1.0, places=64), "identity-nce": Term(1.0, places=64)},
        task=Part("style", ways=1),
    )
