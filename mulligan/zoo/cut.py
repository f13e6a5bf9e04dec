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
    """Section 4 and appendix C of the paper: by turns of chance G is held to doing the same to mirror images."""
    return derived(
        cut(),
        name="fastcut",
        about="no look at what is at home already, and ten times the weight on places: half the time",
        terms={"patch-nce": Term(10.0, mirror=0.5)},
        budget=Budget(epochs=200),
    )


@recipes.register("restyle-cut")
def restyle_cut() -> Recipe:
    """`restyle` one way. Heads shared by both pictures tie their looks too: digits to be inverted came out mangled."""
    parent = restyle()
    terms = {name: term for name, term in parent.terms.items() if name != "cycle"}
    return derived(
        parent,
        name="restyle-cut",
        about="one way by a slim U-net, places told apart, a D of small patches: minutes of a CPU",
        paper="Mulligan; parts from arXiv 2007.15651, 2104.07689, 1611.07004, 1807.00734, 2501.05441",
        generator=parent.generator.with_options(heads=64, apart=True),
        terms={"patch-nce": Term(0.2, places=64), **terms},
        task=Part("style", ways=1),
    )
